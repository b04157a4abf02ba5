//! Names to addresses, through the system's resolver, bounded in number and in threads.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::Arc,
};

use async_trait::async_trait;
use tokio::{sync::Semaphore, task::spawn_blocking};

/// How many addresses of a name are looked at. More than that is no honest answer.
const ADDRESSES_MAX: usize = 64;
/// How many look-ups may be under way. The system's resolver blocks a thread for as long as it likes,
/// so a slow name server must not be able to take them all.
const LOOKUPS_MAX: usize = 64;

/// Where the addresses of a name come from.
#[async_trait]
pub(crate) trait Resolver: Send + Sync {
    /// All addresses of the name, in the order in which they should be tried.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
pub(crate) struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl SystemResolver {
    pub(crate) fn new() -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.lookups)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let host = host.to_owned();
        let found = spawn_blocking(move || {
            // Held until the look-up has really ended, also when whoever asked has gone.
            let _permit = permit;
            (host.as_str(), 0_u16).to_socket_addrs().map(|found| {
                let mut addresses: Vec<IpAddr> = Vec::new();
                for address in found.map(|found| found.ip()).take(ADDRESSES_MAX + 1) {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                addresses
            })
        })
        .await
        .map_err(io::Error::other)??;
        if found.len() > ADDRESSES_MAX {
            return Err(io::Error::other("the name has too many addresses"));
        }
        Ok(found)
    }
}
