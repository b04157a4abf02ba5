//! Hostile addresses, names and servers, and what becomes of requests to them.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::Mutex,
};

use mainstay_domain::Category;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;

/// A name server that answers as the test says, once for each look-up.
struct FakeResolver {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
}

impl FakeResolver {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers
            .iter()
            .map(|answer| {
                answer
                    .iter()
                    .map(|text| text.parse().expect("an address"))
                    .collect()
            })
            .collect();
        Arc::new(Self {
            answers: Mutex::new(answers),
        })
    }

    fn left(&self) -> usize {
        self.answers.lock().expect("no panic").len()
    }
}

#[async_trait]
impl Resolver for FakeResolver {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let next = self.answers.lock().expect("no panic").pop_front();
        next.ok_or_else(|| io::Error::other("no such name"))
    }
}

fn allow(ranges: &[&str]) -> AddressGuard {
    AddressGuard::new(
        ranges
            .iter()
            .map(|text| text.parse().expect("a range"))
            .collect(),
    )
}

fn outbound(ranges: &[&str], resolver: Arc<FakeResolver>) -> Outbound {
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Outbound::with(allow(ranges), resolver, tls)
}

/// May connect to loopback, knows no names.
fn loopback() -> Outbound {
    outbound(&["127.0.0.0/8"], FakeResolver::new(&[]))
}

fn request(url: impl Into<String>) -> OutRequest {
    OutRequest {
        url: url.into(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: Bytes::from_static(b"{}"),
        connect_timeout_ms: 2_000,
        timeout_ms: 5_000,
        answer_bytes_max: 16,
    }
}

/// What a server does with one connection, after it has read the request.
type Behaviour = Box<dyn FnMut(TcpStream) -> JoinHandle<()> + Send>;

/// A server of raw bytes on loopback.
async fn server(mut behaviour: Behaviour) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            behaviour(stream);
        }
    });
    address
}

async fn request_read(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 1_024];
    while !seen.ends_with(b"{}") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => seen.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// Answers every request with these bytes and keeps the connection open, silent.
async fn answering(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = answer.into();
    server(Box::new(move |mut stream| {
        let answer = answer.clone();
        tokio::spawn(async move {
            request_read(&mut stream).await;
            let _ = stream.write_all(&answer).await;
            let _ = stream.read(&mut [0]).await;
        })
    }))
    .await
}

async fn refused(outbound: &Outbound, url: &str) -> OutError {
    outbound.post(request(url)).await.expect_err(url)
}

#[tokio::test]
async fn a_literal_address_is_judged_however_it_is_written() {
    let outbound = outbound(&[], FakeResolver::new(&[]));
    for url in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://%31%32%37.0.0.1/",
        "http://127。0。0。1/",
        "http://①②⑦.0.0.1/",
        "http://0/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:ffff:a9fe:a9fe]/",
        "http://[64:ff9b::169.254.169.254]/",
        "http://[2002:7f00:1::]/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://10.0.0.1:6379/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://0.0.0.0:8420/",
        "http://255.255.255.255/",
    ] {
        let error = refused(&outbound, url).await;
        assert!(matches!(error, OutError::Forbidden(_)), "{url}: {error}");
        assert!(!error.category().retryable(), "{url}");
    }
}

#[tokio::test]
async fn a_url_that_is_none_or_says_too_much_is_refused() {
    let outbound = loopback();
    let long = format!("http://example.test/{}", "a".repeat(5_000));
    for url in [
        "",
        "example.test",
        "//example.test",
        "ftp://example.test/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "unix:/run/x",
        "http://",
        "http:///",
        "http://user@127.0.0.1/",
        "http://user:secret@127.0.0.1/",
        "http://:secret@127.0.0.1/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://[::1",
        "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://[fe80::1%25eth0]/",
        long.as_str(),
    ] {
        let error = refused(&outbound, url).await;
        assert!(matches!(error, OutError::Url(_)), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_name_is_refused_when_any_of_its_addresses_is() {
    for answer in [
        &["127.0.0.1"][..],
        &["8.8.8.8", "10.0.0.1"],
        &["2606:4700:4700::1111", "::1"],
        &["8.8.8.8", "::ffff:169.254.169.254"],
        &["64:ff9b::a9fe:a9fe"],
    ] {
        let outbound = outbound(&[], FakeResolver::new(&[answer]));
        let error = refused(&outbound, "http://hook.example.test/").await;
        assert!(
            matches!(error, OutError::Forbidden(_)),
            "{answer:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_a_dns_failure_that_is_tried_again() {
    let outbound = outbound(&[], FakeResolver::new(&[&[]]));
    for _ in 0..2 {
        let error = refused(&outbound, "https://hook.example.test/").await;
        assert!(matches!(error, OutError::Dns(_)), "{error}");
        assert_eq!(error.category(), Category::Network);
    }
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_connected_to() {
    let address = answering("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    // A name that answers harmlessly when it is checked and otherwise when it is asked again.
    let resolver = FakeResolver::new(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let outbound = outbound(&["127.0.0.1"], Arc::clone(&resolver));
    let url = format!("http://rebind.example.test:{}/", address.port());
    let answer = outbound
        .post(request(url.clone()))
        .await
        .expect("an answer");
    assert_eq!(answer.status, 204);
    assert_eq!(resolver.left(), 1, "one look-up for one connection");
    let error = refused(&outbound, &url).await;
    assert!(matches!(error, OutError::Forbidden(_)), "{error}");
}

#[tokio::test]
async fn a_dead_address_leaves_time_for_the_next() {
    let address = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let resolver = FakeResolver::new(&[&["127.0.0.2", "127.0.0.1"]]);
    let outbound = outbound(&["127.0.0.0/8"], resolver);
    let url = format!("http://two.example.test:{}/", address.port());
    let answer = outbound.post(request(url)).await.expect("an answer");
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_request_arrives_as_it_was_given() {
    let (seen_tx, seen_rx) = tokio::sync::oneshot::channel();
    let mut seen_tx = Some(seen_tx);
    let address = server(Box::new(move |mut stream| {
        let seen_tx = seen_tx.take();
        tokio::spawn(async move {
            let seen = request_read(&mut stream).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-One: 1\r\n\r\nok")
                .await;
            if let Some(seen_tx) = seen_tx {
                let _ = seen_tx.send(seen);
            }
        })
    }))
    .await;
    let answer = loopback()
        .post(request(format!("http://{address}/hook?a=b#part")))
        .await
        .expect("an answer");
    assert_eq!((answer.status, &answer.excerpt[..]), (200, &b"ok"[..]));
    assert!(
        answer
            .headers
            .contains(&("x-one".to_owned(), "1".to_owned()))
    );
    let seen = seen_rx.await.expect("a request");
    assert!(seen.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("content-type: application/json\r\n"),
        "{seen}"
    );
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let address = answering(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let answer = loopback()
        .post(request(format!("http://{address}/")))
        .await
        .expect("an answer");
    assert_eq!(answer.status, 307);
}

#[tokio::test]
async fn a_server_that_does_not_answer_times_out_by_name() {
    let address = answering("").await;
    let mut slow = request(format!("http://{address}/"));
    slow.timeout_ms = 100;
    let error = loopback().post(slow).await.expect_err("no answer");
    assert_eq!(
        error.to_string(),
        "operation 'request' timed out after 100ms"
    );
}

#[tokio::test]
async fn headers_that_come_too_slowly_time_out() {
    let address = server(Box::new(|mut stream| {
        tokio::spawn(async move {
            request_read(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            let mut drip = tokio::time::interval(Duration::from_millis(20));
            for line in 0.. {
                drip.tick().await;
                let line = format!("x-{line}: 1\r\n");
                if stream.write_all(line.as_bytes()).await.is_err() {
                    break;
                }
            }
        })
    }))
    .await;
    let mut slow = request(format!("http://{address}/"));
    slow.timeout_ms = 200;
    let error = loopback()
        .post(slow)
        .await
        .expect_err("no end of the headers");
    assert!(
        matches!(
            error,
            OutError::Timeout {
                operation: "request",
                ms: 200
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_handshake_that_hangs_is_a_connect_timeout() {
    let address = server(Box::new(|mut stream| {
        tokio::spawn(async move {
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.read(&mut [0; 4_096]).await;
        })
    }))
    .await;
    let mut slow = request(format!("https://{address}/"));
    slow.connect_timeout_ms = 100;
    let error = loopback().post(slow).await.expect_err("no handshake");
    assert_eq!(
        error.to_string(),
        "operation 'connect' timed out after 100ms"
    );
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_tls_failure() {
    let address = server(Box::new(|mut stream| {
        tokio::spawn(async move {
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read(&mut [0; 4_096]).await;
        })
    }))
    .await;
    let error = refused(&loopback(), &format!("https://{address}/")).await;
    assert!(matches!(error, OutError::Tls(_)), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_a_connect_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let error = refused(&loopback(), &format!("http://{address}/")).await;
    assert_eq!(error, OutError::Connect("connection refused".to_owned()));
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_broken() {
    let address = server(Box::new(|mut stream| {
        tokio::spawn(async move {
            request_read(&mut stream).await;
            let _ = stream.set_zero_linger();
        })
    }))
    .await;
    let error = refused(&loopback(), &format!("http://{address}/")).await;
    assert!(matches!(error, OutError::Broken(_)), "{error}");
}

#[tokio::test]
async fn what_is_not_http_is_broken_and_not_shown() {
    for answer in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "-ERR wrong\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
    ] {
        let address = answering(answer).await;
        let error = refused(&loopback(), &format!("http://{address}/")).await;
        assert!(matches!(error, OutError::Broken(_)), "{answer}: {error}");
        assert!(!error.to_string().contains("OpenSSH"), "{error}");
    }
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let one = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(100_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(500));
    for answer in [one, many] {
        let address = answering(answer).await;
        let error = refused(&loopback(), &format!("http://{address}/")).await;
        assert!(matches!(error, OutError::Broken(_)), "{error}");
    }
}

#[tokio::test]
async fn headers_are_handed_on_in_bounded_number_and_size() {
    let lines: String = (0..100)
        .map(|line| format!("x-{line}: {}\r\n", "v".repeat(200)))
        .collect();
    let large = "w".repeat(4_000);
    let address = answering(format!(
        "HTTP/1.1 200 OK\r\nX-Large: {large}\r\n{lines}Content-Length: 0\r\n\r\n"
    ))
    .await;
    let answer = loopback()
        .post(request(format!("http://{address}/")))
        .await
        .expect("an answer");
    assert_eq!(answer.headers.len(), HEADERS_KEPT_MAX);
    assert!(
        answer
            .headers
            .iter()
            .all(|(_, value)| value.len() <= HEADER_VALUE_KEPT_BYTES)
    );
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_costs_the_rest_of_it_and_not_the_answer() {
    let address = answering("HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\n\r\nbegin").await;
    let mut slow = request(format!("http://{address}/"));
    slow.timeout_ms = 150;
    let answer = loopback().post(slow).await.expect("an answer");
    assert_eq!((answer.status, &answer.excerpt[..]), (500, &b"begin"[..]));
}

#[tokio::test]
async fn a_body_without_end_is_cut_and_its_connection_closed() {
    let (closed_tx, closed_rx) = tokio::sync::oneshot::channel();
    let mut closed_tx = Some(closed_tx);
    let address = server(Box::new(move |mut stream| {
        let closed_tx = closed_tx.take();
        tokio::spawn(async move {
            request_read(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'x'; 8_192]).await.is_ok() {}
            if let Some(closed_tx) = closed_tx {
                let _ = closed_tx.send(());
            }
        })
    }))
    .await;
    let answer = loopback()
        .post(request(format!("http://{address}/")))
        .await
        .expect("an answer");
    assert_eq!((answer.status, answer.excerpt.len()), (200, 16));
    closed_rx.await.expect("the server sees the end");
}

#[tokio::test]
async fn a_connection_is_used_again_and_no_longer_counted_when_it_ends() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = server(Box::new(move |mut stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            for _ in 0..3 {
                request_read(&mut stream).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await;
            }
        })
    }))
    .await;
    let outbound = loopback();
    for _ in 0..3 {
        outbound
            .post(request(format!("http://{address}/")))
            .await
            .expect("an answer");
        // The client's own task puts the connection back.
        until(|| outbound.open.load(Ordering::Relaxed) <= 1).await;
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    until(|| outbound.open.load(Ordering::Relaxed) == 0).await;
}

/// Lets the other tasks run until it is so; the test runner ends a test for which it never is.
async fn until(reached: impl Fn() -> bool) {
    while !reached() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn with_many_connections_open_none_more_is_kept() {
    let address = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let outbound = loopback();
    outbound.open.fetch_add(KEPT_OPEN_MAX, Ordering::Relaxed);
    let built = outbound
        .request(Method::POST, request(format!("http://{address}/")))
        .expect("a request");
    assert_eq!(
        built.headers().get(CONNECTION),
        Some(&HeaderValue::from_static("close"))
    );
}
