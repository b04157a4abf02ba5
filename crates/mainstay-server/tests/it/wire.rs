//! What a client can do to the connection: slow, large, unfinished, forged; and how the server ends.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use reqwest::{Certificate, Client, Method};
use serde_json::json;

use crate::{
    client::{Answer, Caller, World},
    on_both_servers,
    server::{Server, Settings},
};

/// Longer than any bound that these tests set, shorter than any that they do not.
const SOON: Duration = Duration::from_secs(9);

fn short_limits() -> Settings {
    let second = || "1".to_owned();
    Settings {
        env: vec![
            ("MAINSTAY_LIMITS_HEADER_TIMEOUT_SECS", second()),
            ("MAINSTAY_LIMITS_BODY_TIMEOUT_SECS", second()),
            ("MAINSTAY_LIMITS_CONNECTIONS_PER_ADDRESS", "8".to_owned()),
        ],
        ..Settings::default()
    }
}

fn connect(server: &Server) -> TcpStream {
    let (_, address) = server.address.split_once("://").expect("a URL");
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

/// Everything that comes until the server closes the connection; panics when it does not.
fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection was not closed: {error}"),
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn a_client_that_is_slow_is_cut() {
    let server = Server::sqlite_with(short_limits());
    let begun = Instant::now();
    // Says nothing at all.
    let silent = connect(&server);
    // Sends its headers one by one, without end.
    let mut headers = connect(&server);
    headers
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ")
        .expect("it takes a head");
    // Announces a body and sends a byte of it.
    let mut body = connect(&server);
    let head = b"POST /v1/session HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    body.write_all(head).expect("it takes a head");
    assert!(rest(silent).is_empty() || begun.elapsed() < SOON);
    rest(headers);
    let answer = rest(body);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("body_timeout"), "{answer}");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn one_address_does_not_get_all_connections() {
    let server = Server::sqlite_with(Settings {
        env: vec![("MAINSTAY_LIMITS_CONNECTIONS_PER_ADDRESS", "2".to_owned())],
        ..Settings::default()
    });
    let (first, second) = (connect(&server), connect(&server));
    // Closed without a word.
    assert_eq!(rest(connect(&server)), "");
    drop(first);
    drop(second);
    let answered = (0..100).any(|_| {
        let mut stream = connect(&server);
        let asked =
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        asked.is_ok() && rest(stream).contains("200 OK")
    });
    assert!(answered, "the shares are given back");
}

#[test]
fn a_body_that_is_too_large_is_cut_while_it_streams() {
    mainstay_testkit::run(async {
        let server = Server::sqlite();
        let owner = Caller::owner(&server);
        let world = World::make(&owner, "a").await;
        let head = format!(
            "POST /in/{} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
            world.source_name
        );
        let mut stream = connect(&server);
        stream.write_all(head.as_bytes()).expect("it takes a head");
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 65_536], b"\r\n"].concat();
        // A mebibyte is the source's bound; the server says so long before these 64.
        let sent = (0..1_024)
            .take_while(|_| stream.write_all(&chunk).is_ok())
            .count();
        assert!(sent < 1_024, "it takes no more");
        let _ = stream.shutdown(Shutdown::Write);
        let answer = rest(stream);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 413 "),
            "{answer}"
        );
        // Announced beforehand it is refused at once.
        let mut stream = connect(&server);
        let head = format!(
            "POST /in/{} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n",
            world.source_name
        );
        stream.write_all(head.as_bytes()).expect("it takes a head");
        let answer = rest(stream);
        assert!(
            answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"),
            "{answer}"
        );
    });
}

#[test]
fn connections_beyond_all_that_there_are_wait_until_one_ends() {
    let server = Server::sqlite_with(Settings {
        env: vec![("MAINSTAY_LIMITS_CONNECTIONS", "2".to_owned())],
        ..Settings::default()
    });
    let (first, second) = (connect(&server), connect(&server));
    let mut third = connect(&server);
    third
        .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .expect("the system takes it");
    let short = Duration::from_millis(300);
    third.set_read_timeout(Some(short)).expect("a timeout");
    let unanswered = third.read(&mut [0; 1]).expect_err("nobody reads it");
    assert!(
        matches!(
            unanswered.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
        "{unanswered}"
    );
    drop(first);
    drop(second);
    third.set_read_timeout(Some(SOON)).expect("a timeout");
    assert!(rest(third).contains("200 OK"));
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let server = Server::sqlite();
    let many = (0..150).fold(String::new(), |all, number| {
        format!("{all}x-{number}: 1\r\n")
    });
    // Twice what is read at once; what is read is looked at before there is more.
    let large = format!("x-large: {}\r\n", "x".repeat(200 * 1024));
    for headers in [many, large] {
        let mut stream = connect(&server);
        let head = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        // It may be cut before all of it is written.
        let _ = stream.write_all(head.as_bytes());
        let answer = rest(stream);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
            "{answer}"
        );
    }
}

#[test]
fn what_is_packed_is_never_unpacked() {
    mainstay_testkit::run(async {
        let server = Server::sqlite();
        let owner = Caller::owner(&server);
        let world = World::make(&owner, "a").await;
        let packed = |path: &str| {
            let request = owner.request(Method::POST, path);
            request
                .header("content-type", "application/json")
                .header("content-encoding", "gzip")
                .body("{}")
        };
        let refused = owner.send(packed("/v1/tenants")).await;
        assert_eq!(refused.problem(), (415, "media_type_unsupported".into()));
        // A webhook is signed as it came, and is what it came as.
        let forged = owner
            .send(packed(&format!("/in/{}", world.source_name)))
            .await;
        assert_eq!(forged.status, 400, "{}", forged.text);
    });
}

#[test]
fn a_hangup_ends_nothing() {
    mainstay_testkit::run(async {
        let mut server = Server::sqlite();
        let pid = server.pid().to_string();
        for _ in 0..3 {
            let asked = Command::new("kill").args(["-HUP", &pid]).status();
            assert!(asked.expect("kill runs").success());
            assert_eq!(Caller::nobody(&server).get("/livez").await.status, 200);
        }
        assert!(server.is_running());
    });
}

#[test]
fn a_refusal_says_what_http_wants_to_hear() {
    mainstay_testkit::run(async {
        let server = Server::sqlite();
        let (owner, nobody) = (Caller::owner(&server), Caller::nobody(&server));
        let source = json!({ "name": "github", "scheme": "github" });
        owner.post("/v1/sources", &source).await.ok();
        let asked = nobody.get("/in/github").await;
        assert_eq!(asked.problem(), (405, "challenge_unsupported".into()));
        assert_eq!(asked.header("allow"), "POST");
        let forged = nobody
            .request(Method::POST, "/in/github")
            .header("x-github-event", "push")
            .header("x-github-delivery", "1")
            .header("x-hub-signature-256", format!("sha256={}", "0".repeat(64)));
        let forged = nobody.send(forged.json(&json!({}))).await;
        assert_eq!(forged.problem(), (401, "signature_wrong".into()));
        assert_eq!(forged.header("www-authenticate"), "Signature");
        let wrong = json!({ "email": "anna@example.com", "password": "not a password" });
        let signed_in = nobody.post("/v1/session", &wrong).await;
        assert_eq!(signed_in.problem(), (401, "sign_in_failed".into()));
        assert_eq!(signed_in.header("www-authenticate"), "Bearer");
        // What is no text at all is the name of no source.
        let unreadable = nobody.post("/in/%ff", &json!({})).await;
        assert_eq!(unreadable.problem(), (404, "source_unknown".into()));
    });
}

on_both_servers!(
    an_open_stream_does_not_hold_up_the_end,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let stream = owner
            .request(Method::GET, "/v1/stream")
            .send()
            .await
            .expect("it opens");
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        let mut events = stream.bytes_stream();
        let first = events
            .next()
            .await
            .expect("something comes")
            .expect("it can be read");
        assert!(first.starts_with(b"event: tick\ndata: {"), "{first:?}");
        // A connection that is kept open, and one that has begun a request.
        let mut kept = connect(server);
        kept.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            .expect("it takes a request");
        let mut line = String::new();
        BufReader::new(&kept)
            .read_line(&mut line)
            .expect("it answers");
        assert!(line.starts_with("HTTP/1.1 200"));
        let asked = Command::new("kill")
            .args(["-TERM", &server.pid().to_string()])
            .status();
        assert!(asked.expect("kill runs").success());
        let begun = Instant::now();
        while events.next().await.is_some_and(|event| event.is_ok()) {}
        assert_eq!(server.ended(), Some(0));
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
);

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut server = Server::sqlite();
    let mut slow = connect(&server);
    // A request that is under way keeps an orderly end waiting.
    let head = b"POST /v1/session HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    slow.write_all(head).expect("it takes a head");
    let pid = server.pid().to_string();
    let begun = Instant::now();
    let mut asked = 0;
    while server.is_running() && begun.elapsed() < SOON {
        let _ = Command::new("kill").args(["-TERM", &pid]).output();
        asked += 1;
    }
    assert!(asked >= 2);
    assert_eq!(server.ended(), Some(130));
}

#[test]
fn a_forwarded_address_is_believed_only_from_a_trusted_proxy() {
    mainstay_testkit::run(async {
        for (trusted, seen) in [("127.0.0.0/8", "203.0.113.7"), ("10.0.0.0/8", "127.0.0.1")] {
            let server = Server::sqlite_with(Settings {
                env: vec![("MAINSTAY_TRUSTED_PROXIES", trusted.to_owned())],
                ..Settings::default()
            });
            let owner = Caller::owner(&server);
            let new = json!({ "name": "door", "scheme": "github" });
            owner.post("/v1/sources", &new).await.ok();
            let request = owner
                .request(Method::POST, "/in/door")
                .header("x-forwarded-for", "6.6.6.6, 203.0.113.7");
            let refused = owner.send(request.body("{}")).await;
            assert_eq!(refused.problem(), (400, "signature_missing".into()));
            let full = |found: &serde_json::Value| {
                found["items"]
                    .as_array()
                    .is_some_and(|list| !list.is_empty())
            };
            let receipts = owner.until("/v1/receipts", full).await;
            assert_eq!(receipts["items"][0]["remote"], seen);
            assert_eq!(receipts["items"][0]["reason"], "signature_missing");
        }
    });
}

/// A certificate of the test's own.
fn certificate(folder: &std::path::Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=mainstay test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    (certificate, key)
}

#[test]
fn tls_is_spoken_with_both_protocols_and_a_bound_on_the_handshake() {
    mainstay_testkit::run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (cert, key) = certificate(folder.path());
        let mut settings = short_limits();
        settings.args = [
            "--tls-cert",
            &cert.display().to_string(),
            "--tls-key",
            &key.display().to_string(),
        ]
        .map(str::to_owned)
        .to_vec();
        let server = Server::sqlite_with(settings);
        assert!(server.address.starts_with("https://"), "{}", server.address);
        // Never begins to shake hands.
        rest(connect(&server));
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pem = std::fs::read(&cert).expect("it was made");
        let root = Certificate::from_pem(&pem).expect("a certificate");
        let client = || Client::builder().no_proxy().tls_certs_only([root.clone()]);
        let url = format!("{}/livez", server.address);
        let first = client()
            .http1_only()
            .build()
            .expect("a client")
            .get(&url)
            .send()
            .await
            .expect("an answer");
        assert_eq!(
            (first.status().as_u16(), first.version()),
            (200, reqwest::Version::HTTP_11)
        );
        let second = client()
            .build()
            .expect("a client")
            .get(&url)
            .send()
            .await
            .expect("an answer");
        assert_eq!(
            (second.status().as_u16(), second.version()),
            (200, reqwest::Version::HTTP_2)
        );
        assert!(
            second.headers()["strict-transport-security"]
                .to_str()
                .is_ok_and(|text| text.contains("max-age"))
        );
    });
}

#[test]
fn every_error_is_a_problem_and_every_answer_is_protected() {
    mainstay_testkit::run(async {
        let server = Server::sqlite();
        let (owner, nobody) = (Caller::owner(&server), Caller::nobody(&server));
        let not_allowed = owner.send(owner.request(Method::PUT, "/v1/jobs")).await;
        assert_eq!(not_allowed.problem(), (405, "method_not_allowed".into()));
        assert!(
            not_allowed.header("allow").contains("POST"),
            "{:?}",
            not_allowed.headers
        );
        assert_eq!(
            nobody.get("/v1/nothing").await.problem(),
            (404, "not_found".into())
        );
        assert_eq!(
            nobody.post("/nothing", &json!({})).await.problem(),
            (404, "not_found".into())
        );
        assert_eq!(
            nobody.post("/in/nothing", &json!({})).await.problem(),
            (404, "source_unknown".into())
        );
        let unknown = owner
            .request(Method::POST, "/v1/tenants")
            .header("content-type", "text/plain");
        assert_eq!(
            owner.send(unknown.body("{}")).await.problem(),
            (415, "media_type_unsupported".into())
        );
        let broken = owner
            .request(Method::POST, "/v1/tenants")
            .header("content-type", "application/json");
        assert_eq!(
            owner.send(broken.body("{")).await.problem(),
            (400, "request_malformed".into())
        );
        let wrong = owner
            .post("/v1/tenants", &json!({ "name": "", "slug": "A" }))
            .await;
        let errors = wrong.json()["errors"].clone();
        let pointers: Vec<_> = errors
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["pointer"].clone())
            .collect();
        assert_eq!(pointers, ["/name", "/slug"]);
        // A list of nothing is not everything.
        let nothing = json!({ "selection": { "event_ids": [] }, "plan": true });
        assert_eq!(
            owner.post("/v1/replays", &nothing).await.problem(),
            (400, "validation_failed".into())
        );
        let long = format!("/v1/jobs?tenant={}", "x".repeat(101));
        assert_eq!(
            owner.get(&long).await.problem(),
            (400, "validation_failed".into())
        );
        for path in ["/", "/events", "/signin", "/v1/session", "/livez"] {
            let answer = owner.get(path).await;
            assert_eq!(answer.status, 200, "{path}");
            for header in [
                "content-security-policy",
                "x-content-type-options",
                "x-frame-options",
                "referrer-policy",
            ] {
                assert!(!answer.header(header).is_empty(), "{path} has no {header}");
            }
            assert!(answer.header("access-control-allow-origin").is_empty());
        }
        assert!(
            nobody
                .get("/docs/errors")
                .await
                .text
                .contains("### `validation_failed`")
        );
        assert_eq!(
            nobody.get("/v1/openapi.json").await.ok()["openapi"],
            "3.1.0"
        );
    });
}

on_both_servers!(
    health_and_metrics_say_how_it_is,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let nobody = Caller::nobody(server);
        let world = World::make(&owner, "a").await;
        assert_eq!(nobody.get("/livez").await.status, 200);
        assert_eq!(nobody.get("/readyz").await.status, 200);
        let health = nobody.get("/v1/health").await;
        let found = health.json();
        let all =
            ["database", "engine", "queue"].map(|part| found["checks"][part]["status"].clone());
        assert!(all.iter().all(|status| status.is_string()), "{found}");
        // 200 only when everything is healthy; a busy machine may be slow without being broken.
        assert_eq!(
            health.status == 200,
            found["status"] == "healthy",
            "{found}"
        );
        assert!(found["checks"]["database"]["latency_ms"].is_u64());
        // The engine's picture, with the queues' names, is renewed now and then.
        let dead = format!(
            "mainstay_jobs_dead{{queue=\"endpoint:{}\"}} 1",
            world.endpoint
        );
        let told = |answer: &Answer| answer.text.contains(&dead);
        owner.until_answer("/metrics", told).await;
        let metrics = nobody.get("/metrics").await;
        assert!(metrics.text.ends_with("# EOF\n"));
        for line in [
            "mainstay_http_requests_total{route=\"/readyz\",method=\"GET\",status=\"200\"}",
            &format!(
                "mainstay_intake_requests_total{{source=\"{}\",answer=\"200\"}} 1",
                world.source_name
            ),
        ] {
            assert!(
                metrics.text.contains(line),
                "{line} is not in {}",
                metrics.text
            );
        }
        let room = owner.get("/v1/storage").await.ok();
        let tables = room["tables"].as_array().expect("a list");
        let event = tables.iter().find(|table| table["name"] == "event");
        assert!(
            event.is_some_and(|table| table["bytes"].as_i64() > Some(0)),
            "{room}"
        );
        assert!(room["bytes"].as_i64() > event.and_then(|table| table["bytes"].as_i64()));
        let measured = |answer: &Answer| {
            answer
                .text
                .contains("mainstay_table_bytes{table=\"event\"} ")
        };
        owner.until_answer("/metrics", measured).await;
        let key = json!({ "name": "t", "role": "owner", "tenant_id": world.tenant });
        let bound = owner.key(key).await;
        assert_eq!(bound.get("/v1/storage").await.status, 403);
        // Through a proxy it needs a key.
        let one = |found: &serde_json::Value| found["dead_letters"] == 1;
        let overview = owner.until("/v1/overview?window=24h", one).await;
        let points = overview["throughput"]["points"].as_array().expect("points");
        assert_eq!(points.len(), 96);
        let until = |found: &serde_json::Value| found["totals"]["received"] == 1;
        owner.until("/v1/overview?window=1h", until).await;
    }
);
