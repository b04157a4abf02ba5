//! TLS: the server's certificate, and which protocol a browser and we agree on.
//!
//! The files are read again when they change, so that a renewed certificate is used without a restart. Connections
//! that are open keep theirs; files that do not serve leave the certificate that there is.

use std::{path::Path, sync::Arc, time::SystemTime};

use anyhow::Context as _;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_rustls::TlsAcceptor;

use crate::{config::Tls, limits};

/// The protocols that we speak, the better one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificate in use, and the files that it is from.
pub(crate) struct Certificate {
    files: Tls,
    /// How the files looked when they were read, whether they served or not: what is wrong with them is said once.
    seen: Seen,
    current: watch::Sender<TlsAcceptor>,
    hangup: Signal,
}

/// When the two files were written, and their lengths; none where one cannot be looked at.
type Seen = [Option<(SystemTime, u64)>; 2];

impl Certificate {
    /// Reads certificate and key; what is wrong with them is said at the start and not at the first connection.
    pub(crate) fn load(files: Tls) -> anyhow::Result<Self> {
        // Before the files are read: what is written meanwhile is then read once more, and never missed.
        let seen = seen(&files);
        Ok(Self {
            seen,
            current: watch::Sender::new(acceptor(&files)?),
            hangup: signal(SignalKind::hangup())?,
            files,
        })
    }

    /// The certificate for whoever connects.
    pub(crate) fn current(&self) -> watch::Receiver<TlsAcceptor> {
        self.current.subscribe()
    }

    /// Looks at the files again, once a minute and at every SIGHUP, until `stop` turns true.
    pub(crate) async fn renew(mut self, mut stop: watch::Receiver<bool>) {
        let first = Instant::now() + limits::CERTIFICATE_LOOK;
        let mut look = interval_at(first, limits::CERTIFICATE_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = self.hangup.recv() => true,
                _ = look.tick() => false,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            self.look(asked);
        }
    }

    /// Reads the files when they have changed, or when somebody asks for it.
    fn look(&mut self, asked: bool) {
        let seen = seen(&self.files);
        if !asked && seen == self.seen {
            return;
        }
        self.seen = seen;
        match acceptor(&self.files) {
            Ok(acceptor) => {
                self.current.send_replace(acceptor);
                tracing::info!(file = %self.files.cert.display(), "the certificate was read again");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(%error, "the certificate could not be read again; the one before it stays");
            }
        }
    }
}

fn seen(files: &Tls) -> Seen {
    [&files.cert, &files.key].map(|path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    })
}

fn acceptor(tls: &Tls) -> anyhow::Result<TlsAcceptor> {
    let chain = chain(&tls.cert).with_context(|| format!("tls.cert: {}", tls.cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .with_context(|| format!("tls.key: {}", tls.key.display()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("tls: certificate and key do not go together")?;
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Certificates in a PEM file: at least one.
pub(crate) fn chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    anyhow::ensure!(!chain.is_empty(), "holds no certificate");
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Writes a new certificate and its key.
    fn certify(files: &Tls) {
        let ran = Command::new("openssl")
            .args(["req", "-x509", "-days", "2", "-subj", "/CN=test", "-nodes"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-keyout".as_ref(), files.key.as_os_str()])
            .args(["-out".as_ref(), files.cert.as_os_str()])
            .output()
            .expect("openssl is installed");
        assert!(ran.status.success(), "{ran:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_changes_is_read_again_and_one_that_does_not_serve_is_not_used() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let files = Tls {
            cert: folder.path().join("server.pem"),
            key: folder.path().join("server.key"),
        };
        certify(&files);
        let certificate = Certificate::load(files.clone()).expect("it serves");
        let mut current = certificate.current();
        let (stop, stopped) = watch::channel(false);
        let renewing = tokio::spawn(certificate.renew(stopped));
        // As long as nothing changes, nothing is read.
        tokio::time::sleep(5 * limits::CERTIFICATE_LOOK).await;
        assert!(!current.has_changed().expect("it is looked after"));
        certify(&files);
        current.changed().await.expect("it is read again");
        std::fs::write(&files.cert, "no certificate at all").expect("the folder is ours");
        tokio::time::sleep(5 * limits::CERTIFICATE_LOOK).await;
        assert!(!current.has_changed().expect("the one before it stays"));
        std::fs::remove_file(&files.key).expect("the folder is ours");
        tokio::time::sleep(5 * limits::CERTIFICATE_LOOK).await;
        assert!(!current.has_changed().expect("the one before it stays"));
        certify(&files);
        current.changed().await.expect("it is read again");
        stop.send_replace(true);
        renewing.await.expect("it ends");
    }
}
