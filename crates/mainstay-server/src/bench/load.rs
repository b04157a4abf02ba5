//! The load generator: a process of its own (`mainstay bench load`, hidden), so that its work and memory are not
//! the server's.
//!
//! Raw HTTP/1.1 over kept-alive connections, a request at a time on each. Bodies are Stripe-shaped, all different, truly
//! signed. The id stands at the end of the body, so that everything before it is hashed once a second and not once a
//! request: making a request costs about a microsecond, and what is measured is the server.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use aws_lc_rs::hmac;
use clap::Args;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep_until,
};

/// The secret of the source, by environment: a command line is everybody's to read.
pub(crate) const SECRET: &str = "MAINSTAY_BENCH_SECRET";
/// Requests before this much of the time has passed are not counted, unless said otherwise.
const WARM_UP: f64 = 0.15;
/// Answers are small; a larger one is not from our server.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

/// What to send, where and how fast.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArgs {
    /// Host and port
    #[arg(long)]
    pub(crate) address: String,
    /// The path that takes webhooks
    #[arg(long)]
    pub(crate) path: String,
    /// How long, in seconds, the warm-up included
    #[arg(long)]
    pub(crate) seconds: f64,
    /// How many connections
    #[arg(long)]
    pub(crate) connections: usize,
    /// Bytes of a body
    #[arg(long)]
    pub(crate) body: usize,
    /// Requests in a second; without it as many as are answered
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Which share of the time is not counted
    #[arg(long, default_value_t = WARM_UP)]
    pub(crate) warm_up: f64,
    /// Makes the ids of this run unlike those of every other
    #[arg(long)]
    pub(crate) run: String,
}

/// What came of it, printed as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    /// Answered requests in a second.
    pub(crate) per_second: f64,
    /// How many were counted.
    pub(crate) requests: u64,
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// How many were answered with 2xx, those that are not counted included.
    pub(crate) accepted: u64,
    /// Latencies in milliseconds; from the moment a request was due where a rate is given.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

impl LoadReport {
    /// How many answers were not 2xx.
    pub(crate) fn refused(&self) -> u64 {
        let refused = self
            .statuses
            .iter()
            .filter(|(status, _)| !(200..300).contains(*status));
        refused.map(|(_, count)| count).sum()
    }
}

/// Sends, and prints the report. One thread: on a small machine the server needs the rest.
pub(crate) fn run(args: &LoadArgs) -> anyhow::Result<()> {
    let secret = std::env::var(SECRET).context("the secret of the source")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(load(args, &secret))?;
    super::say(&serde_json::to_string(&report)?);
    Ok(())
}

async fn load(args: &LoadArgs, secret: &str) -> anyhow::Result<LoadReport> {
    ensure!(args.connections > 0 && args.seconds > 0.0, "nothing to do");
    let begin = Instant::now();
    let length = Duration::from_secs_f64(args.seconds);
    let window = (begin + length.mul_f64(args.warm_up), begin + length);
    let mut connections = JoinSet::new();
    for number in 0..args.connections {
        let bodies = Bodies::new(args, secret, number);
        let pace = args
            .rate
            .map(|rate| Pace::new(rate, args.connections, number, begin));
        let connection = Connection::open(&args.address).await?;
        connections.spawn(send(connection, bodies, pace, window));
    }
    let mut counts = Counts::new()?;
    while let Some(part) = connections.join_next().await {
        counts.add(&part??)?;
    }
    Ok(counts.report((window.1 - window.0).as_secs_f64()))
}

async fn send(
    mut connection: Connection,
    mut bodies: Bodies,
    mut pace: Option<Pace>,
    (from, to): (Instant, Instant),
) -> anyhow::Result<Counts> {
    let mut counts = Counts::new()?;
    loop {
        let due = match &mut pace {
            Some(pace) => pace.next().await,
            None => Instant::now(),
        };
        if due >= to {
            return Ok(counts);
        }
        let status = connection.exchange(bodies.next_request()?).await?;
        let done = Instant::now();
        counts.accepted += u64::from((200..300).contains(&status));
        if due >= from && done <= to {
            counts.one(status, done - due)?;
        }
    }
}

/// When the requests of one connection are due, so that all together keep the rate.
struct Pace {
    next: Instant,
    every: Duration,
}

impl Pace {
    fn new(rate: f64, connections: usize, number: usize, begin: Instant) -> Self {
        let every = Duration::from_secs_f64(connections as f64 / rate);
        Self {
            next: begin + every.mul_f64(number as f64 / connections as f64),
            every,
        }
    }

    /// Waits until the next request is due. One that is late counts from when it was due: waiting is part of latency.
    async fn next(&mut self) -> Instant {
        let due = self.next;
        self.next += self.every;
        sleep_until(due.into()).await;
        due
    }
}

/// What was counted.
struct Counts {
    histogram: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    accepted: u64,
}

impl Counts {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            // Microseconds, up to a minute.
            histogram: Histogram::new_with_bounds(1, 60_000_000, 3)?,
            statuses: BTreeMap::new(),
            accepted: 0,
        })
    }

    fn one(&mut self, status: u16, latency: Duration) -> anyhow::Result<()> {
        let micros = u64::try_from(latency.as_micros())?.clamp(1, 60_000_000);
        self.histogram.record(micros)?;
        *self.statuses.entry(status).or_default() += 1;
        Ok(())
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.histogram.add(&other.histogram)?;
        self.accepted += other.accepted;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        Ok(())
    }

    fn report(self, seconds: f64) -> LoadReport {
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        LoadReport {
            per_second: self.histogram.len() as f64 / seconds,
            requests: self.histogram.len(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: self.histogram.max() as f64 / 1_000.0,
            accepted: self.accepted,
            statuses: self.statuses,
        }
    }
}

/// The requests of one connection.
struct Bodies {
    head: String,
    key: hmac::Key,
    front: Vec<u8>,
    run: String,
    number: u64,
    second: u64,
    hashed: hmac::Context,
    request: Vec<u8>,
    body_len: usize,
}

impl Bodies {
    fn new(args: &LoadArgs, secret: &str, connection: usize) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let run = format!("{}{connection:03}", args.run);
        let front = front(args.body, id(&run, 0).len());
        Self {
            head: format!(
                "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nuser-agent: Stripe/1.0\r\n\
                 content-length: {}\r\nstripe-signature: t=",
                args.path,
                args.address,
                front.len() + id(&run, 0).len() + 2
            ),
            hashed: hmac::Context::with_key(&key),
            body_len: front.len() + id(&run, 0).len() + 2,
            key,
            front,
            run,
            number: 0,
            second: 0,
            request: Vec::with_capacity(args.body + 512),
        }
    }

    /// The next request, signed now.
    fn next_request(&mut self) -> anyhow::Result<&[u8]> {
        let second = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        if second != self.second {
            self.second = second;
            self.hashed = hmac::Context::with_key(&self.key);
            self.hashed.update(format!("{second}.").as_bytes());
            self.hashed.update(&self.front);
        }
        let id = id(&self.run, self.number);
        self.number += 1;
        let mut hashed = self.hashed.clone();
        hashed.update(id.as_bytes());
        hashed.update(b"\"}");
        let tag = hashed.sign();
        let request = &mut self.request;
        request.clear();
        request.extend_from_slice(self.head.as_bytes());
        request.extend_from_slice(second.to_string().as_bytes());
        request.extend_from_slice(b",v1=");
        for byte in tag.as_ref() {
            request.extend_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
        }
        request.extend_from_slice(b"\r\n\r\n");
        let body_at = request.len();
        request.extend_from_slice(&self.front);
        request.extend_from_slice(id.as_bytes());
        request.extend_from_slice(b"\"}");
        debug_assert_eq!(request.len() - body_at, self.body_len);
        Ok(request)
    }
}

const fn hex(digit: u8) -> u8 {
    if digit < 10 {
        b'0' + digit
    } else {
        b'a' + digit - 10
    }
}

/// As long as Stripe's, and always of the same length.
fn id(run: &str, number: u64) -> String {
    format!("evt_1{run}{number:012}")
}

/// The body up to its id: an invoice's event, filled up to the wanted size.
fn front(size: usize, id_len: usize) -> Vec<u8> {
    let head = r#"{"object":"event","api_version":"2022-11-15","created":1790000000,"data":{"object":{"object":"invoice","amount_due":4900,"amount_paid":4900,"amount_remaining":0,"attempt_count":1,"attempted":true,"billing_reason":"subscription_cycle","currency":"eur","customer":"cus_Q1w2E3r4T5y6U7","lines":{"object":"list","data":["#;
    let tail = r#"],"has_more":false},"livemode":true,"paid":true,"status":"paid","subtotal":4900,"total":4900}},"livemode":true,"pending_webhooks":1,"request":{"id":null,"idempotency_key":null},"type":"invoice.paid","id":""#;
    let mut lines = String::new();
    for number in 0.. {
        let line = format!(
            r#"{{"id":"il_1{number:08}","object":"line_item","amount":{},"currency":"eur","description":"Seat {number}","quantity":1,"type":"subscription"}}"#,
            100 + number
        );
        if head.len() + lines.len() + line.len() + tail.len() + id_len + 3 > size && number > 0 {
            break;
        }
        if number > 0 {
            lines.push(',');
        }
        lines.push_str(&line);
    }
    // The rest in white space, which JSON allows between values.
    let used = head.len() + lines.len() + tail.len() + id_len + 2;
    let filler = " ".repeat(size.saturating_sub(used));
    format!("{head}{lines}{filler}{tail}").into_bytes()
}

/// One kept-alive connection.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: vec![0; ANSWER_BYTES_MAX],
        })
    }

    /// Sends a request and reads its answer; the status.
    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let got = self.stream.read(&mut self.read[filled..]).await?;
            ensure!(got > 0, "the server closed a connection");
            filled += got;
            if let Some((status, whole)) = answer(&self.read[..filled])? {
                ensure!(filled == whole, "an answer is followed by something else");
                return Ok(status);
            }
            ensure!(filled < self.read.len(), "an answer is too large");
        }
    }
}

/// Status and length of an answer, once it is whole.
fn answer(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..head])?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .context("a status")?;
    let mut body = 0;
    for line in lines {
        let (name, value) = line.split_once(':').context("a header")?;
        if name.eq_ignore_ascii_case("content-length") {
            body = value.trim().parse()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("an answer of unknown length");
        }
    }
    let whole = head + 4 + body;
    Ok((bytes.len() >= whole).then_some((status.parse()?, whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(body: usize) -> LoadArgs {
        LoadArgs {
            address: "127.0.0.1:1".to_owned(),
            path: "/in/bench".to_owned(),
            seconds: 1.0,
            connections: 1,
            body,
            rate: None,
            warm_up: WARM_UP,
            run: "r0".to_owned(),
        }
    }

    #[test]
    fn a_request_is_signed_as_stripe_does_and_has_the_wanted_size() {
        let mut bodies = Bodies::new(&args(2_048), "whsec_bench", 7);
        let first = bodies.next_request().expect("a request").to_vec();
        let second = bodies.next_request().expect("a request").to_vec();
        assert_ne!(first, second);
        let text = String::from_utf8(second).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        assert_eq!(body.len(), 2_048);
        assert!(head.contains("content-length: 2048"));
        let value: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(value["id"], "evt_1r0007000000000001");
        let (_, signature) = head.split_once("t=").expect("a signature");
        let (time, tag) = signature.split_once(",v1=").expect("time and tag");
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"whsec_bench");
        let expected = hmac::sign(&key, format!("{time}.{body}").as_bytes());
        let expected: String = expected
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(tag, expected);
    }

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        for cut in 0..whole.len() {
            assert_eq!(answer(&whole[..cut]).expect("no mistake"), None, "{cut}");
        }
        assert_eq!(answer(whole).expect("no mistake"), Some((200, whole.len())));
    }
}
