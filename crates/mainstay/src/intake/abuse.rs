//! What a flood of forgeries may cost, and what a provider may send, so that neither is at the cost of what is genuine.
//!
//! A request is verified first, and what proves genuine meets one limit alone: the rate that its own source declares. Each
//! failure counts against the address that it came from. An address that failed too often is *distrusted* until its
//! failures are forgotten, at the rate at which they may come; its requests are still verified where it has proved genuine
//! to the source before, and, where not, as far as the source has verifications to spare for distrusted addresses. Only
//! what is beyond that is turned away, before its body is read, and told to come again.
//!
//! Memory is bounded: so many addresses, in sets, of which the least distrusted makes room; and for each source so many
//! that have proved genuine. While nothing fails it costs a request the reading of one number before and one after.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use mainstay_domain::{
    Timestamp,
    intake::rate::{Due, Rate, nanos},
};

/// Failures of one address that are forgiven in a minute, and that many at once, unless configured otherwise.
pub const FAILURES_PER_MINUTE: u32 = 60;
/// Requests of distrusted addresses that each source verifies in a second all the same.
const SPARED_PER_SECOND: u32 = 100;
const SPARED_BURST: u32 = 200;

/// Locks beside one another, so that failures from many addresses do not wait for each other.
const SHARDS: usize = 16;
/// Sets of each, and addresses in a set: 65,536 addresses in all, a mebibyte.
const SETS: usize = 512;
const WAYS: usize = 8;
/// Addresses that each source remembers to have proved genuine: two kibibytes.
const PROVED: usize = 256;
/// A source's own events of a kind come at most this often.
const TOLD_PAUSE_MS: i64 = 10 * 60 * 1_000;

/// An address, as far as it is told apart: of IPv6 the network of 64 bits. Keyed, so that nobody can choose which are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(u64);

#[derive(Clone, Copy, Default)]
struct Slot {
    network: u64,
    due: Due,
}

type Shard = Mutex<Option<Box<[[Slot; WAYS]]>>>;

/// Failures by address.
pub(crate) struct Failures {
    keys: RandomState,
    /// `None`: no address is ever distrusted.
    rate: Option<Rate>,
    shards: [Shard; SHARDS],
    /// Until when some address may be distrusted, in nanoseconds since 1970; 0: none ever was.
    until: AtomicI64,
}

impl Failures {
    /// So many may fail in a minute; 0: as many as like.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            keys: RandomState::new(),
            rate: (per_minute > 0).then(|| Rate::per_minute(per_minute, per_minute)),
            shards: Default::default(),
            until: AtomicI64::new(0),
        }
    }

    /// What is told apart of an address.
    pub(crate) fn network(&self, address: IpAddr) -> Network {
        let bits = match address.to_canonical() {
            IpAddr::V4(four) => (false, u64::from(u32::from(four))),
            IpAddr::V6(six) => (true, (u128::from(six) >> 64) as u64),
        };
        // 0 is no network: an empty slot.
        Network(self.keys.hash_one(bits).max(1))
    }

    /// Whether some address may be distrusted: nearly never.
    pub(crate) fn any(&self) -> bool {
        self.until.load(Ordering::Relaxed) > 0
    }

    /// For how many nanoseconds this address is distrusted; 0: it is not.
    pub(crate) fn distrusted(&self, network: Network, now: Timestamp) -> i64 {
        let Some(rate) = self.rate else { return 0 };
        let until = self.until.load(Ordering::Relaxed);
        if nanos(now) >= until {
            // Forgotten at once only if nobody fails meanwhile.
            let _ = self
                .until
                .compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
            return 0;
        }
        let (shard, set) = place(network);
        let slots = self.lock(shard);
        let found = slots.as_ref().and_then(|sets| {
            let slots = sets.get(set)?;
            slots.iter().find(|slot| slot.network == network.0)
        });
        found.map_or(0, |slot| rate.wait(slot.due, now))
    }

    /// A request of this address did not verify.
    pub(crate) fn failed(&self, network: Network, now: Timestamp) {
        let Some(rate) = self.rate else { return };
        let (shard, set) = place(network);
        let mut slots = self.lock(shard);
        let sets =
            slots.get_or_insert_with(|| vec![[Slot::default(); WAYS]; SETS].into_boxed_slice());
        let Some(slots) = sets.get_mut(set) else {
            return;
        };
        let own = slots.iter().position(|slot| slot.network == network.0);
        // The one that is soonest forgotten makes room.
        let least = || (0..WAYS).min_by_key(|at| slots[*at].due).unwrap_or(0);
        let at = own.unwrap_or_else(least);
        let before = own.map_or(0, |at| slots[at].due);
        let due = rate.spend(before, now);
        slots[at] = Slot {
            network: network.0,
            due,
        };
        if rate.wait(due, now) > 0 {
            self.until.fetch_max(due, Ordering::Relaxed);
        }
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Option<Box<[[Slot; WAYS]]>>> {
        self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

const fn place(network: Network) -> (usize, usize) {
    let shard = network.0 as usize % SHARDS;
    (shard, (network.0 >> 8) as usize % SETS)
}

/// What one source may be sent. It outlives the snapshots of the configuration.
#[derive(Default)]
pub(crate) struct Allowance {
    /// By the source's own rate.
    taken: AtomicI64,
    /// By the rate at which distrusted addresses are verified all the same.
    spared: AtomicI64,
    /// Networks that have proved genuine: each in the one place where it may stand. A newer one takes the place.
    proved: OnceLock<Box<[AtomicU64]>>,
    told: AtomicI64,
    /// What was over since it was told.
    over: AtomicI64,
}

impl std::fmt::Debug for Allowance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Allowance").finish_non_exhaustive()
    }
}

impl Allowance {
    /// Takes one of what the source's provider may send; else answers for how many nanoseconds there is none.
    pub(crate) fn take(&self, rate: Rate, now: Timestamp) -> Result<(), i64> {
        take(&self.taken, rate, now)
    }

    /// Takes one of what is verified for distrusted addresses.
    pub(crate) fn spare(&self, now: Timestamp) -> bool {
        let rate = Rate::per_second(SPARED_PER_SECOND, SPARED_BURST);
        take(&self.spared, rate, now).is_ok()
    }

    /// A request of this network proved genuine.
    pub(crate) fn proved(&self, network: Network) {
        let place = &self.proved_places()[network.0 as usize % PROVED];
        // Written once: everybody reads it.
        if place.load(Ordering::Relaxed) != network.0 {
            place.store(network.0, Ordering::Relaxed);
        }
    }

    /// Whether a request of this network has proved genuine, as far as it is remembered.
    pub(crate) fn has_proved(&self, network: Network) -> bool {
        let place = &self.proved_places()[network.0 as usize % PROVED];
        place.load(Ordering::Relaxed) == network.0
    }

    /// Counts one that was over. Answers how many there were since it was last told, where it is time to tell again.
    pub(crate) fn over(&self, now: Timestamp) -> Option<i64> {
        self.over.fetch_add(1, Ordering::Relaxed);
        let told = self.told.load(Ordering::Relaxed);
        let quiet = Timestamp::from_micros(told);
        if told != 0 && now.ms_since(quiet).abs() < TOLD_PAUSE_MS {
            return None;
        }
        let now = now.micros();
        self.told
            .compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed)
            .ok()?;
        Some(self.over.swap(0, Ordering::Relaxed))
    }

    fn proved_places(&self) -> &[AtomicU64] {
        self.proved
            .get_or_init(|| (0..PROVED).map(|_| AtomicU64::new(0)).collect())
    }
}

/// No lock: who was overtaken tries again with what it finds.
fn take(due: &AtomicI64, rate: Rate, now: Timestamp) -> Result<(), i64> {
    let mut known = due.load(Ordering::Relaxed);
    loop {
        let next = rate.take(known, now)?;
        match due.compare_exchange_weak(known, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Ok(()),
            Err(found) => known = found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn flood(failures: &Failures, text: &str, times: usize) {
        let network = failures.network(address(text));
        for _ in 0..times {
            failures.failed(network, NOW);
        }
    }

    fn distrusts(failures: &Failures, text: &str, now: Timestamp) -> bool {
        failures.distrusted(failures.network(address(text)), now) > 0
    }

    #[test]
    fn an_address_that_fails_too_often_is_distrusted_until_that_is_forgotten_and_no_other_is() {
        let failures = Failures::new(60);
        flood(&failures, "203.0.113.9", 59);
        assert!(!distrusts(&failures, "203.0.113.9", NOW));
        assert!(!failures.any());
        flood(&failures, "203.0.113.9", 1_000);
        assert!(failures.any());
        assert!(distrusts(&failures, "203.0.113.9", NOW));
        assert!(distrusts(&failures, "::ffff:203.0.113.9", NOW));
        assert!(!distrusts(&failures, "203.0.113.10", NOW));
        assert!(!distrusts(&failures, "203.0.113.9", NOW.plus_ms(1_000)));
        assert!(!distrusts(&failures, "203.0.113.9", NOW.plus_ms(61_000)));
        assert!(!failures.any(), "all of it is forgotten");
    }

    #[test]
    fn whoever_has_a_whole_network_of_ipv6_is_one_address() {
        let failures = Failures::new(60);
        for host in 0..100 {
            flood(&failures, &format!("2001:db8:1:2::{host:x}"), 1);
        }
        assert!(distrusts(&failures, "2001:db8:1:2:ffff::1", NOW));
        assert!(!distrusts(&failures, "2001:db8:1:3::1", NOW));
    }

    #[test]
    fn memory_is_bounded_and_who_fails_most_is_not_pushed_out_by_who_fails_once() {
        let failures = Failures::new(60);
        flood(&failures, "203.0.113.9", 1_000);
        for number in 0..200_000_u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + number));
            failures.failed(failures.network(address), NOW);
        }
        assert!(distrusts(&failures, "203.0.113.9", NOW));
    }

    #[test]
    fn without_a_limit_nobody_is_distrusted() {
        let failures = Failures::new(0);
        flood(&failures, "203.0.113.9", 1_000);
        assert!(!failures.any() && !distrusts(&failures, "203.0.113.9", NOW));
    }

    #[test]
    fn who_has_proved_genuine_is_remembered_by_the_source_alone() {
        let (failures, one, other) = (
            Failures::new(60),
            Allowance::default(),
            Allowance::default(),
        );
        let network = failures.network(address("198.51.100.7"));
        assert!(!one.has_proved(network));
        one.proved(network);
        assert!(one.has_proved(network) && !other.has_proved(network));
    }

    #[test]
    fn what_is_over_is_told_at_once_and_then_after_a_while() {
        let allowance = Allowance::default();
        assert_eq!(allowance.over(NOW), Some(1));
        assert_eq!(allowance.over(NOW), None);
        assert_eq!(allowance.over(NOW.plus_ms(TOLD_PAUSE_MS)), Some(2));
    }

    #[test]
    fn a_source_takes_its_rate_however_many_ask_at_the_same_time() {
        let (allowance, rate) = (Allowance::default(), Rate::per_second(10, 100));
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..1_000)
                            .filter(|_| allowance.take(rate, NOW).is_ok())
                            .count()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .sum()
        });
        assert_eq!(taken, 100);
    }
}
