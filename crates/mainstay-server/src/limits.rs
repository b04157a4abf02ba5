//! Every number that bounds the server, in one place (CFG-01). What an operator may change stands in the
//! configuration and has its default here.

use std::time::Duration;

/// Where the server listens unless told otherwise.
pub(crate) const LISTEN: &str = "127.0.0.1:8420";
/// Where the data lies unless told otherwise.
pub(crate) const DATA: &str = "./mainstay-data";
/// The configuration file that is read when it is there.
pub(crate) const CONFIG_FILE: &str = "mainstay.toml";

/// What the spool takes on its disk, where there is one.
pub(crate) const SPOOL_BYTES: u64 = 1024 * 1024 * 1024;

/// Connections at the same time.
pub(crate) const CONNECTIONS: usize = 4_096;
/// Connections at the same time from one address that is no trusted proxy.
pub(crate) const CONNECTIONS_PER_ADDRESS: usize = 512;
/// From the connection, or the end of the last request, to the end of a request's headers.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// From the end of a request's headers to the end of its body.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What a request may take beside the reading of its body (TMO-04).
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection on which no byte moves for so long is closed. Longer than a request may take.
pub(crate) const CONNECTION_IDLE: Duration = Duration::from_secs(90);
/// How often it is looked whether the certificate's files have changed.
pub(crate) const CERTIFICATE_LOOK: Duration = Duration::from_secs(60);
/// How long running requests may go on after the signal to stop.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Headers in one request.
pub(crate) const HEADERS_MAX: usize = 100;
/// Bytes of a request's head.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Streams at the same time on one HTTP/2 connection.
pub(crate) const H2_STREAMS_MAX: u32 = 128;
/// How often an HTTP/2 connection that says nothing is asked whether it lives.
pub(crate) const H2_PING: Duration = Duration::from_secs(20);

/// The largest body of a request to the API.
pub(crate) const API_BODY_BYTES: usize = 1024 * 1024;
/// The largest form of the sign-in pages.
pub(crate) const FORM_BYTES: usize = 16 * 1024;

/// Items on a page of a list unless asked otherwise.
pub(crate) const PAGE: i64 = 50;
/// Items on a page of a list at the most.
pub(crate) const PAGE_MAX: i64 = 200;
/// Events that one page of a list looks at, at the most, for those that are asked for; it says how far it came.
pub(crate) const EVENTS_LOOKED: i64 = 100_000;
/// Ids in one selection.
pub(crate) const SELECTION_IDS_MAX: usize = 1_000;
/// Jobs shown with one event.
pub(crate) const EVENT_JOBS_MAX: i64 = 100;
/// Requests shown with one event.
pub(crate) const EVENT_RECEIPTS_MAX: i64 = 100;
/// Dead letters read at once while they are exported.
pub(crate) const EXPORT_STEP: i64 = 500;
/// Rows that a read-only statement answers.
pub(crate) const SQL_ROWS_MAX: usize = 1_000;
/// Bytes of a read-only statement.
pub(crate) const SQL_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a job's own payload.
pub(crate) const JOB_PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Values that one request links.
pub(crate) const LINKS_AT_ONCE_MAX: usize = 1_000;
/// Secrets that a source may have at the same time.
pub(crate) const SOURCE_SECRETS_MAX: usize = 5;
/// Sources, endpoints and bindings in one configuration: all are changed in one transaction.
pub(crate) const CONFIGURATION_THINGS_MAX: usize = 1_000;
/// Links that one configuration declares, and that its sources have before.
pub(crate) const CONFIGURATION_LINKS_MAX: usize = 1_000;

/// How long an `Idempotency-Key` is remembered.
pub(crate) const IDEMPOTENCY_MS: i64 = 24 * 60 * 60 * 1_000;
/// How long such a key may be.
pub(crate) const IDEMPOTENCY_KEY_MAX: usize = 255;
/// Answers larger than this are not kept for a repetition.
pub(crate) const IDEMPOTENCY_ANSWER_MAX: usize = 64 * 1024;

/// How often the audit log is sealed: how long an entry can be changed unseen.
pub(crate) const SEAL_EVERY: Duration = Duration::from_secs(1);
/// Entries that are sealed in one transaction.
pub(crate) const SEAL_STEP: i64 = 500;
/// Entries in one part of the exported audit log.
pub(crate) const AUDIT_EXPORT_MAX: i64 = 1_000;
/// Reads that wait for their audit entry.
pub(crate) const READS_WAITING_MAX: usize = 1_024;
/// Reads that are entered in one commit.
pub(crate) const READS_AT_ONCE: usize = 256;
/// The same read of the same caller within this time is one entry.
pub(crate) const READ_AGAIN: Duration = Duration::from_secs(60);
/// Reads whose entry is remembered for that.
pub(crate) const READS_KNOWN_MAX: usize = 10_000;

/// How long a browser stays signed in.
pub(crate) const SESSION_MS: i64 = 14 * 24 * 60 * 60 * 1_000;
/// How long a sign-in link works.
pub(crate) const LINK_MS: i64 = 24 * 60 * 60 * 1_000;
/// How long a key that was read is believed without asking the store.
pub(crate) const KEY_CACHE: Duration = Duration::from_secs(5);
/// How often it is looked whether who holds a stream open may still do so.
pub(crate) const STREAM_LOOK: Duration = Duration::from_secs(2);
/// Keys that are remembered.
pub(crate) const KEY_CACHE_MAX: usize = 10_000;
/// "Last used" is written down at most this often.
pub(crate) const TOUCH_MS: i64 = 60_000;
/// Characters of a password.
pub(crate) const PASSWORD_MIN: usize = 10;
/// Bytes of a password, so that hashing has a bound.
pub(crate) const PASSWORD_MAX: usize = 256;
/// Passwords hashed at the same time: each takes 19 MiB.
pub(crate) const PASSWORDS_AT_ONCE: usize = 2;
/// How long a sign-in waits for its turn to be hashed.
pub(crate) const PASSWORD_WAIT: Duration = Duration::from_secs(5);
/// Sign-ins that may fail from one address, or for one user, before the next has to wait.
pub(crate) const SIGN_IN_FAILURES: u32 = 10;
/// How long it takes until one more may fail.
pub(crate) const SIGN_IN_REFILL: Duration = Duration::from_secs(30);
/// Addresses and users whose failures are remembered.
pub(crate) const SIGN_IN_TRACKED_MAX: usize = 10_000;

/// Requests to the API that one person, or one key that submits work, may make in a minute, on each node.
pub(crate) const REQUESTS_PER_MINUTE: usize = 60_000;
/// Requests of one key that look at something, in a minute, on each node (RLM-02).
pub(crate) const READS_PER_MINUTE: usize = 100;
/// Requests of one key that change something.
pub(crate) const WRITES_PER_MINUTE: usize = 30;
/// Requests of one key that buy something.
pub(crate) const PURCHASES_PER_MINUTE: usize = 10;
/// Requests of one key that buy credits.
pub(crate) const CREDIT_PURCHASES_PER_MINUTE: usize = 5;
/// The minute in which they are counted.
pub(crate) const RATE_WINDOW: Duration = Duration::from_secs(60);
/// Callers whose requests are counted.
pub(crate) const RATE_CALLERS_MAX: usize = 10_000;

/// Open streams of live changes.
pub(crate) const STREAMS_MAX: usize = 256;
/// Open streams of events that somebody follows.
pub(crate) const FOLLOWERS_MAX: usize = 32;
/// How long such a stream lasts: whoever comes back shows its key again.
pub(crate) const FOLLOW_LIFE: Duration = Duration::from_secs(60);
/// How often a stream that has told everything looks for more.
pub(crate) const FOLLOW_POLL: Duration = Duration::from_millis(250);
/// Events that are entered in the audit log together before they are told.
pub(crate) const FOLLOW_ENTERED_AT_ONCE: usize = 50;
/// Events that can be asked for by their ids at once.
pub(crate) const FOLLOW_IDS_MAX: usize = 100;
/// Messages that a slow reader of the stream may fall behind.
pub(crate) const STREAM_BACKLOG: usize = 32;
/// How long the figures behind the counts of sources and endpoints may be old.
pub(crate) const STATS_CACHE: Duration = Duration::from_secs(2);
/// How long the sizes of tables may be old: SQLite looks at every page to know them.
pub(crate) const SIZES_CACHE: Duration = Duration::from_secs(60 * 60);
/// How long an answer of `/readyz` holds, so that asking costs the database nothing.
pub(crate) const READY_CACHE: Duration = Duration::from_millis(500);
/// How long `/readyz` and `/v1/health` wait for the database.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The database is well below this latency (HLT-03).
pub(crate) const DATABASE_HEALTHY_MS: u64 = 100;
/// Work that waits longer than this makes the queue degraded.
pub(crate) const QUEUE_DEGRADED_SECS: i64 = 300;

/// Where `migrate` puts the backup that it takes first, in the data directory.
pub(crate) const BACKUPS_DIRECTORY: &str = "backups";
