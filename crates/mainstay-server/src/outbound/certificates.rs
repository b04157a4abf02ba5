//! Certificates that providers sign their webhooks with, fetched from the providers' own hosts and verified up to an
//! authority of the platform's.
//!
//! Who asks is a stranger: the request that names the certificate is not verified yet. So the scheme has pinned the
//! host before, and here everything is bounded: how long a fetch takes, how many run at once and in a minute, how large
//! a chain is, and how many keys are remembered.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use mainstay_domain::{
    Clock,
    intake::certificates::{CertificateError, Certificates},
    jobs::http_out::{OutAnswer, OutError, OutRequest},
};
use rustls::{
    client::danger::ServerCertVerifier,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::Outbound;

/// How long a key is used before its certificate is fetched and verified again.
const KEPT_FOR: Duration = Duration::from_secs(12 * 60 * 60);
/// How long it is used at the most, while its certificate cannot be fetched again.
const KEPT_WITHOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Keys that are remembered. PayPal has a handful at a time.
const KEPT_MAX: usize = 32;
/// Fetches at once of what is not known; the others wait for one of these.
const AT_ONCE_MAX: usize = 4;
/// Fetches in a minute of what is not known. What is remembered needs none.
const A_MINUTE_MAX: usize = 60;
/// The same for what was trusted before: strangers, who can name what they like, take none of these.
const KNOWN_AT_ONCE_MAX: usize = 1;
const KNOWN_A_MINUTE_MAX: usize = 12;
/// How long a known key is used without another try, after a fetch has failed; and the pause between two warnings.
const MINUTE: Duration = Duration::from_secs(60);
/// How long a request waits for its turn.
const WAIT: Duration = Duration::from_secs(5);
const CONNECT_MS: u64 = 3_000;
const FETCH_MS: u64 = 5_000;
/// The largest chain, in bytes and in certificates; real ones have about 6 KiB and three.
const CHAIN_BYTES_MAX: usize = 64 * 1_024;
const CHAIN_MAX: usize = 8;

/// Where certificates come from.
#[async_trait]
pub(super) trait Fetch: Send + Sync {
    async fn fetch(&self, request: OutRequest) -> Result<OutAnswer, OutError>;
}

#[async_trait]
impl Fetch for Arc<Outbound> {
    async fn fetch(&self, request: OutRequest) -> Result<OutAnswer, OutError> {
        self.get(request).await
    }
}

/// Fetches, verifies and remembers.
pub(crate) struct PinnedCertificates {
    fetch: Box<dyn Fetch>,
    clock: Arc<dyn Clock>,
    /// None where the platform has no authorities.
    verifier: Option<Arc<dyn ServerCertVerifier>>,
    strangers: Turns,
    again: Turns,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<(String, &'static str), Known>,
    warned: Option<Instant>,
}

struct Known {
    key: Bytes,
    since: Instant,
    /// When somebody last set out to fetch it again.
    tried: Option<Instant>,
}

/// What is remembered of a certificate.
enum Remembered {
    /// To be used as it is.
    Fresh(Bytes),
    /// To be fetched again, by whoever is told so; to be used where that fails.
    Old(Bytes),
    Nothing,
}

/// How many fetches run at once and in a minute.
struct Turns {
    at_once: Semaphore,
    a_minute: usize,
    fetched: Mutex<VecDeque<Instant>>,
}

impl Turns {
    fn new(at_once: usize, a_minute: usize) -> Self {
        Self {
            at_once: Semaphore::new(at_once),
            a_minute,
            fetched: Mutex::default(),
        }
    }

    async fn next(&self) -> Result<SemaphorePermit<'_>, CertificateError> {
        match tokio::time::timeout(WAIT, self.at_once.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(CertificateError::Unavailable("too many are fetched".into())),
        }
    }

    /// Counts one more in this minute, if there may be one.
    fn count(&self) -> Result<(), CertificateError> {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        while fetched.front().is_some_and(|at| at.elapsed() >= MINUTE) {
            fetched.pop_front();
        }
        if fetched.len() >= self.a_minute {
            let why = "too many were fetched in the last minute";
            return Err(CertificateError::Unavailable(why.into()));
        }
        fetched.push_back(Instant::now());
        Ok(())
    }
}

impl PinnedCertificates {
    /// Over this way out, with these authorities: the platform's, and no team's own.
    pub(crate) fn new(
        outbound: Arc<Outbound>,
        clock: Arc<dyn Clock>,
        verifier: Option<Arc<dyn ServerCertVerifier>>,
    ) -> Self {
        Self::with(Box::new(outbound), clock, verifier)
    }

    fn with(
        fetch: Box<dyn Fetch>,
        clock: Arc<dyn Clock>,
        verifier: Option<Arc<dyn ServerCertVerifier>>,
    ) -> Self {
        Self {
            fetch,
            clock,
            verifier,
            strangers: Turns::new(AT_ONCE_MAX, A_MINUTE_MAX),
            again: Turns::new(KNOWN_AT_ONCE_MAX, KNOWN_A_MINUTE_MAX),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, url: &str, name: &'static str) -> Remembered {
        let mut state = self.state();
        let place = (url.to_owned(), name);
        let Some(known) = state.known.get_mut(&place) else {
            return Remembered::Nothing;
        };
        let age = known.since.elapsed();
        if age >= KEPT_WITHOUT {
            state.known.remove(&place);
            return Remembered::Nothing;
        }
        let key = known.key.clone();
        if age < KEPT_FOR || known.tried.is_some_and(|at| at.elapsed() < MINUTE) {
            return Remembered::Fresh(key);
        }
        known.tried = Some(Instant::now());
        Remembered::Old(key)
    }

    fn fresh(&self, url: &str, name: &'static str) -> Option<Bytes> {
        let state = self.state();
        let known = state.known.get(&(url.to_owned(), name))?;
        (known.since.elapsed() < KEPT_FOR).then(|| known.key.clone())
    }

    fn forget(&self, url: &str, name: &'static str) {
        self.state().known.remove(&(url.to_owned(), name));
    }

    /// Once a minute at the most: strangers would fill the log.
    fn warn(&self, url: &str, error: &CertificateError) {
        let mut state = self.state();
        if state.warned.is_some_and(|at| at.elapsed() < MINUTE) {
            return;
        }
        state.warned = Some(Instant::now());
        drop(state);
        tracing::warn!(url, %error, "a provider's certificate cannot be used");
    }

    fn remember(&self, url: &str, name: &'static str, key: &Bytes) {
        let mut state = self.state();
        let since = Instant::now();
        let key = key.clone();
        let known = Known {
            key,
            since,
            tried: None,
        };
        state.known.insert((url.to_owned(), name), known);
        while state.known.len() > KEPT_MAX {
            let oldest = state.known.iter().min_by_key(|(_, known)| known.since);
            let Some(place) = oldest.map(|(place, _)| place.clone()) else {
                break;
            };
            state.known.remove(&place);
        }
    }

    async fn fetched(&self, url: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let unavailable = |why: String| Err(CertificateError::Unavailable(why));
        let request = OutRequest {
            url: url.to_owned(),
            headers: vec![(
                "user-agent".into(),
                concat!("Mainstay/", env!("CARGO_PKG_VERSION")).into(),
            )],
            body: Bytes::new(),
            connect_timeout_ms: CONNECT_MS,
            timeout_ms: FETCH_MS,
            answer_bytes_max: CHAIN_BYTES_MAX,
        };
        let answer = match self.fetch.fetch(request).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => return unavailable(format!("it was answered with {}", answer.status)),
            Err(error) => return unavailable(error.to_string()),
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&answer.excerpt)
            .take(CHAIN_MAX)
            .collect();
        match chain {
            Ok(chain) if !chain.is_empty() => Ok(chain),
            // Perhaps it broke off.
            _ => unavailable("what came is no chain of certificates".into()),
        }
    }

    fn trusted(
        &self,
        chain: &[CertificateDer<'static>],
        name: &'static str,
    ) -> Result<Bytes, CertificateError> {
        let untrusted = |error: rustls::Error| CertificateError::Untrusted(error.to_string());
        let Some((leaf, others)) = chain.split_first() else {
            return Err(CertificateError::Untrusted("there is none".into()));
        };
        let name = ServerName::try_from(name)
            .map_err(|error| CertificateError::Untrusted(error.to_string()))?;
        let secs = u64::try_from(self.clock.now().secs()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(secs));
        let Some(verifier) = &self.verifier else {
            let why = "this machine has no certificate authorities";
            return Err(CertificateError::Unavailable(why.into()));
        };
        verifier
            .verify_server_cert(leaf, others, &name, &[], now)
            .map_err(untrusted)?;
        public_key(leaf).map_err(untrusted)
    }
}

/// The public key of a certificate, as SubjectPublicKeyInfo in DER.
pub(crate) fn public_key(certificate: &CertificateDer<'_>) -> Result<Bytes, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(Bytes::copy_from_slice(
        parsed.subject_public_key_info().as_ref(),
    ))
}

#[async_trait]
impl Certificates for PinnedCertificates {
    async fn public_key(&self, url: &str, name: &'static str) -> Result<Bytes, CertificateError> {
        let old = match self.remembered(url, name) {
            Remembered::Fresh(key) => return Ok(key),
            Remembered::Old(key) => Some(key),
            Remembered::Nothing => None,
        };
        let turns = match &old {
            Some(_) => &self.again,
            None => &self.strangers,
        };
        let key = self.looked_up(url, name, turns).await;
        let error = match &key {
            Ok(_) => return key,
            Err(error) => error,
        };
        self.warn(url, error);
        match (error, old) {
            // It was vouched for, and nobody has said otherwise.
            (CertificateError::Unavailable(_), Some(old)) => return Ok(old),
            (CertificateError::Untrusted(_), _) => self.forget(url, name),
            (CertificateError::Unavailable(_), None) => {}
        }
        key
    }
}

impl PinnedCertificates {
    async fn looked_up(
        &self,
        url: &str,
        name: &'static str,
        turns: &Turns,
    ) -> Result<Bytes, CertificateError> {
        let _turn = turns.next().await?;
        // Whoever had the turn before may have brought it.
        if let Some(key) = self.fresh(url, name) {
            return Ok(key);
        }
        turns.count()?;
        let key = self.trusted(&self.fetched(url).await?, name)?;
        self.remember(url, name, &key);
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mainstay_domain::Timestamp;
    use mainstay_testkit::TestClock;

    use super::*;

    const URL: &str = "https://api.paypal.com/v1/notifications/certs/CERT-1";
    const NAME: &str = "messageverificationcerts.paypal.com";

    // A root, an authority below it and what it signed, made with openssl; nobody has the keys any more.
    const ROOT: &[u8] = include_bytes!("testdata/root.pem");
    const GOOD: &[u8] = include_bytes!("testdata/good.pem");
    const LEAF_ALONE: &[u8] = include_bytes!("testdata/leaf_alone.pem");
    const OTHER_NAME: &[u8] = include_bytes!("testdata/other_name.pem");
    const EXPIRED: &[u8] = include_bytes!("testdata/expired.pem");
    const SELF_SIGNED: &[u8] = include_bytes!("testdata/self_signed.pem");

    type Answer = Result<(u16, &'static [u8]), OutError>;

    /// Answers all alike, and counts.
    struct Fake {
        answer: Arc<Mutex<Answer>>,
        asked: Arc<AtomicUsize>,
    }

    #[async_trait]
    impl Fetch for Fake {
        async fn fetch(&self, request: OutRequest) -> Result<OutAnswer, OutError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            assert!(request.url.starts_with("https://api.paypal.com/"));
            let answer = self.answer.lock().expect("no panic").clone();
            answer.map(|(status, body)| OutAnswer {
                status,
                headers: Vec::new(),
                excerpt: Bytes::from_static(body),
            })
        }
    }

    fn certificates(answer: Answer) -> (PinnedCertificates, Arc<AtomicUsize>) {
        let (all, asked, _) = changing(answer);
        (all, asked)
    }

    /// The same, with what is answered from now on.
    fn changing(answer: Answer) -> (PinnedCertificates, Arc<AtomicUsize>, Arc<Mutex<Answer>>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(Mutex::new(answer));
        let fake = Fake {
            answer: Arc::clone(&answer),
            asked: Arc::clone(&asked),
        };
        let root = CertificateDer::from_pem_slice(ROOT).expect("a certificate");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .expect("a verifier");
        let clock = Arc::new(TestClock::at(Timestamp::from_secs(1_900_000_000)));
        let all = PinnedCertificates::with(Box::new(fake), clock, Some(verifier));
        (all, asked, answer)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_is_used_while_it_cannot_be_fetched_again() {
        let (all, asked, answer) = changing(Ok((200, GOOD)));
        let key = all.public_key(URL, NAME).await.expect("trusted");
        *answer.lock().expect("no panic") = Ok((503, b""));
        tokio::time::advance(KEPT_FOR).await;
        for _ in 0..5 {
            assert_eq!(all.public_key(URL, NAME).await, Ok(key.clone()));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "one try a minute");
        tokio::time::advance(MINUTE).await;
        assert_eq!(all.public_key(URL, NAME).await, Ok(key));
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        tokio::time::advance(KEPT_WITHOUT).await;
        let gone = all.public_key(URL, NAME).await;
        assert!(matches!(gone, Err(CertificateError::Unavailable(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_is_not_used_once_nobody_vouches_for_it() {
        let (all, _, answer) = changing(Ok((200, GOOD)));
        all.public_key(URL, NAME).await.expect("trusted");
        *answer.lock().expect("no panic") = Ok((200, EXPIRED));
        tokio::time::advance(KEPT_FOR).await;
        for _ in 0..2 {
            let key = all.public_key(URL, NAME).await;
            assert!(matches!(key, Err(CertificateError::Untrusted(_))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_take_no_turn_of_what_is_known() {
        let (all, asked, answer) = changing(Ok((200, GOOD)));
        let key = all.public_key(URL, NAME).await.expect("trusted");
        tokio::time::advance(KEPT_FOR).await;
        *answer.lock().expect("no panic") = Ok((404, b""));
        for at in 0..A_MINUTE_MAX * 2 {
            let _ = all.public_key(&format!("{URL}{at}"), NAME).await;
        }
        let before = asked.load(Ordering::Relaxed);
        *answer.lock().expect("no panic") = Ok((200, GOOD));
        assert_eq!(all.public_key(URL, NAME).await, Ok(key));
        assert_eq!(asked.load(Ordering::Relaxed), before + 1, "it is fetched");
        assert!(all.fresh(URL, NAME).is_some());
    }

    #[tokio::test]
    async fn a_certificate_with_a_good_chain_is_fetched_once() {
        let (all, asked) = certificates(Ok((200, GOOD)));
        let key = all.public_key(URL, NAME).await.expect("trusted");
        assert_eq!(all.public_key(URL, NAME).await, Ok(key.clone()));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let leaf = CertificateDer::from_pem_slice(LEAF_ALONE).expect("a certificate");
        assert_eq!(public_key(&leaf).expect("a key"), key);
    }

    #[tokio::test(start_paused = true)]
    async fn after_half_a_day_it_is_verified_again() {
        let (all, asked) = certificates(Ok((200, GOOD)));
        all.public_key(URL, NAME).await.expect("trusted");
        tokio::time::advance(KEPT_FOR).await;
        all.public_key(URL, NAME).await.expect("trusted");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_nobody_vouches_for_is_not_trusted_and_not_remembered() {
        for chain in [LEAF_ALONE, OTHER_NAME, EXPIRED, SELF_SIGNED] {
            let (all, asked) = certificates(Ok((200, chain)));
            for _ in 0..2 {
                let key = all.public_key(URL, NAME).await;
                assert!(
                    matches!(key, Err(CertificateError::Untrusted(_))),
                    "{key:?}"
                );
            }
            assert_eq!(asked.load(Ordering::Relaxed), 2);
        }
    }

    #[tokio::test]
    async fn what_does_not_come_may_come_another_time() {
        let slow = OutError::Timeout {
            operation: "request",
            ms: FETCH_MS,
        };
        for answer in [
            Err(slow),
            Ok((404, GOOD)),
            Ok((302, GOOD)),
            Ok((200, b"".as_slice())),
            Ok((200, &GOOD[..500])),
            Ok((200, b"<html>".as_slice())),
        ] {
            let (all, _) = certificates(answer.clone());
            let key = all.public_key(URL, NAME).await;
            assert!(
                matches!(key, Err(CertificateError::Unavailable(_))),
                "{answer:?} {key:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_who_names_many_cannot_make_us_fetch_many() {
        let (all, asked) = certificates(Ok((404, b"")));
        let name_many = async || {
            for at in 0..A_MINUTE_MAX * 2 {
                let _ = all.public_key(&format!("{URL}{at}"), NAME).await;
            }
        };
        name_many().await;
        assert_eq!(asked.load(Ordering::Relaxed), A_MINUTE_MAX);
        tokio::time::advance(MINUTE).await;
        name_many().await;
        assert_eq!(asked.load(Ordering::Relaxed), A_MINUTE_MAX * 2);
    }

    #[tokio::test]
    async fn no_more_is_remembered_than_there_is_room_for() {
        let (all, _) = certificates(Ok((200, GOOD)));
        for at in 0..KEPT_MAX + 4 {
            let key = all.public_key(&format!("{URL}{at}"), NAME).await;
            assert!(key.is_ok(), "{key:?}");
        }
        assert_eq!(all.state().known.len(), KEPT_MAX);
    }
}
