//! TLS on both sides: deliveries to applications that speak it, and our own certificate.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, Version, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    certificates::{Authority, Certified},
    client::{Caller, text},
    server::{Server, Settings, alone},
};

/// An application that speaks TLS, and the protocols of the requests that it got.
struct Application {
    url: String,
    versions: Receiver<Version>,
}

impl Application {
    async fn new(certified: &Certified, protocols: &[&[u8]]) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (told, versions) = channel(8);
        tokio::spawn(serve(listener, acceptor(certified, protocols), told));
        Self {
            url: format!("https://{address}/hook"),
            versions,
        }
    }
}

fn acceptor(certified: &Certified, protocols: &[&[u8]]) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(&certified.certificate)
        .and_then(Iterator::collect)
        .expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(&certified.key).expect("a key");
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they go together");
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, told: Sender<Version>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, told) = (acceptor.clone(), told.clone());
        tokio::spawn(async move {
            // Who does not trust the certificate goes away here.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let answer = service_fn(move |request: Request<Incoming>| {
                let told = told.clone();
                async move {
                    told.send(request.version()).await.map_err(|_| "the end")?;
                    Ok::<_, &str>(Response::new(Full::new(Bytes::new())))
                }
            });
            // Ends when the client closes it.
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

/// An endpoint that gets every event of the source, once.
async fn endpoint(owner: &Caller, name: &str, url: &str) {
    let new = json!({
        "name": name, "url": url,
        "retry": { "strategy": "schedule", "attempts_max": 1, "delays_ms": [0] },
    });
    let id = text(
        &owner.post("/v1/endpoints", &new).await.ok(),
        "/endpoint/id",
    );
    let new = json!({ "source": "app", "endpoint_id": id, "type_pattern": "*" });
    owner.post("/v1/bindings", &new).await.ok();
}

/// The database beside which a server runs.
#[derive(Clone, Copy)]
enum On {
    Sqlite,
    Postgres,
}

async fn server(on: On, settings: Settings) -> Server {
    match on {
        On::Sqlite => Server::sqlite_with(settings),
        On::Postgres => Server::postgres_with(settings).await,
    }
}

async fn delivered(on: On) {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("a stranger"));
    let server = server(on, trusting(&authority)).await;
    let owner = Caller::owner(&server);
    let new = json!({ "name": "app", "scheme": "standard_webhooks" });
    let secret = text(&owner.post("/v1/sources", &new).await.ok(), "/secret");
    let good = authority.certify();
    let mut old = Application::new(&good, &[b"http/1.1"]).await;
    let mut new = Application::new(&good, &[b"h2", b"http/1.1"]).await;
    endpoint(&owner, "old", &old.url).await;
    endpoint(&owner, "new", &new.url).await;
    let both: [&[u8]; 2] = [b"h2", b"http/1.1"];
    let mut refused = Vec::new();
    for (name, certified) in [
        ("expired", authority.certify_expired()),
        ("another host", authority.certify_other()),
        ("not signed by", stranger.certify()),
    ] {
        let application = Application::new(&certified, &both).await;
        endpoint(&owner, name, &application.url).await;
        refused.push((name, application));
    }
    let body = json!({ "type": "order.made" });
    owner.webhook("app", &secret, "msg_1", &body).await.ok();
    assert_eq!(old.versions.recv().await, Some(Version::HTTP_11));
    assert_eq!(new.versions.recv().await, Some(Version::HTTP_2));
    let three = |list: &Value| list["items"].as_array().is_some_and(|all| all.len() >= 3);
    let letters = owner.until("/v1/dead-letters", three).await;
    let letters = letters["items"].as_array().expect("a list");
    assert_eq!(letters.len(), 3, "{letters:?}");
    for (words, mut application) in refused {
        let letter = letters.iter().find(|letter| {
            letter["error"]
                .as_str()
                .is_some_and(|error| error.contains(words))
        });
        let letter = letter.unwrap_or_else(|| panic!("{words}: {letters:?}"));
        assert_eq!(
            (&letter["category"], &letter["code"]),
            (&json!("network"), &json!("tls_failed"))
        );
        // Not a byte of the request left this machine.
        assert!(application.versions.try_recv().is_err(), "{words}");
    }
}

#[test]
fn deliveries_go_only_to_certificates_that_are_trusted_on_sqlite() {
    mainstay_testkit::run(delivered(On::Sqlite));
}

#[test]
fn deliveries_go_only_to_certificates_that_are_trusted_on_postgres() {
    mainstay_testkit::run(delivered(On::Postgres));
}

fn trusting(authority: &Authority) -> Settings {
    Settings {
        env: vec![(
            "MAINSTAY_OUTBOUND_CA_FILE",
            authority.certificate().display().to_string(),
        )],
        ..Settings::default()
    }
}

/// What the server says instead of starting with these flags.
fn refused_start(folder: &Path, flags: [&str; 4]) -> String {
    let data = folder.join("data").display().to_string();
    let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--data", &data];
    arguments.extend(flags.into_iter().filter(|flag| !flag.is_empty()));
    let ran = alone(&arguments);
    assert_ne!(ran.code, 0, "{}", ran.out);
    ran.err
}

/// Whether somebody who trusts this authority, and no other, connects.
async fn connects(server: &Server, authority: &Authority) -> bool {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(authority.certificate()).expect("a certificate") {
        roots
            .add(root.expect("a certificate"))
            .expect("an authority");
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = server.address.strip_prefix("https://").expect("TLS");
    let stream = TcpStream::connect(address).await.expect("it listens");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.is_ok()
}

/// Connects again and again until it is as wanted.
async fn until_connects(server: &Server, authority: &Authority) {
    let connected = async { while !connects(server, authority).await {} };
    let done = tokio::time::timeout(Duration::from_secs(60), connected).await;
    done.expect("the certificate is read again");
}

fn hang_up(server: &Server) {
    let pid = server.pid().to_string();
    let asked = Command::new("kill").args(["-HUP", &pid]).status();
    assert!(asked.expect("kill runs").success());
}

#[test]
fn a_renewed_certificate_is_used_at_once_when_the_server_is_told_and_a_broken_one_never() {
    mainstay_testkit::run(async {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (before, after) = (Authority::new("before"), Authority::new("after"));
        let (old, new) = (before.certify(), after.certify());
        let folder = tempfile::tempdir().expect("a folder");
        let (cert, key) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        let put = |certificate: &Path, private: &Path| {
            std::fs::copy(certificate, &cert).expect("the folder is ours");
            std::fs::copy(private, &key).expect("the folder is ours");
        };
        put(&old.certificate, &old.key);
        let args = ["--tls-cert".into(), cert.display().to_string()];
        let key_args = ["--tls-key".into(), key.display().to_string()];
        let mut server = Server::sqlite_with(Settings {
            args: args.into_iter().chain(key_args).collect(),
            ..Settings::default()
        });
        assert!(connects(&server, &before).await);
        assert!(!connects(&server, &after).await);
        // A certificate whose key is another's: what there was stays.
        put(&new.certificate, &old.key);
        hang_up(&server);
        for _ in 0..50 {
            assert!(connects(&server, &before).await);
        }
        put(&new.certificate, &new.key);
        hang_up(&server);
        until_connects(&server, &after).await;
        assert!(!connects(&server, &before).await);
        assert!(server.is_running());
        assert_eq!(server.stop(), Some(0));
    });
}

#[test]
fn a_file_that_holds_no_certificate_is_named_at_the_start() {
    let authority = Authority::new("ours");
    let (good, other) = (authority.certify(), authority.certify_other());
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the folder is ours");
        path.display().to_string()
    };
    let (empty, broken) = (
        file("empty.pem", ""),
        file(
            "broken.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
    );
    let missing = folder.path().join("missing.pem").display().to_string();
    let shown = |path: &Path| path.display().to_string();
    let (certificate, key) = (shown(&good.certificate), shown(&good.key));
    for (flags, words) in [
        (["--tls-cert", &missing, "--tls-key", &key], "missing.pem"),
        (["--tls-cert", &empty, "--tls-key", &key], "empty.pem"),
        (
            ["--tls-cert", &certificate, "--tls-key", &empty],
            "empty.pem",
        ),
        (
            ["--tls-cert", &certificate, "--tls-key", &shown(&other.key)],
            "do not go together",
        ),
        (["--outbound-ca-file", &missing, "", ""], "missing.pem"),
        (["--outbound-ca-file", &empty, "", ""], "empty.pem"),
        (["--outbound-ca-file", &broken, "", ""], "broken.pem"),
    ] {
        let said = refused_start(folder.path(), flags);
        assert!(said.contains(words), "{flags:?}: {said}");
    }
}
