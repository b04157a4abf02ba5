//! `mainstay listen` and `mainstay simulate`, as a developer uses them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver as Channel, channel},
    },
    thread,
    time::Duration,
};

use mainstay_domain::intake::scheme::{PreparedScheme, Request, Route, Scheme, Secret};
use serde_json::Value;

use crate::{
    receiver::{Received, Receiver},
    server::Server,
};

const SECRET: &str = "whsec_of_the_test";
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_developer_listens_on_sqlite() {
    developer(&mut Server::sqlite());
}

#[test]
fn a_developer_listens_on_postgres() {
    let mut server = mainstay_testkit::run(Server::postgres());
    developer(&mut server);
    mainstay_testkit::run(async { drop(server) });
}

fn developer(server: &mut Server) {
    server.json(&[
        "source", "create", "pay", "--scheme", "stripe", "--secret", SECRET,
    ]);
    server.json(&[
        "source",
        "create",
        "code",
        "--scheme",
        "github",
        "--secret",
        "of the code",
    ]);
    let first = sent(server, "pay", SECRET, "invoice.paid");
    the_past_is_sent_once_with_a_signature_of_ours(server, &first);
    what_the_provider_sent_is_sent_as_it_was(server, &first);
    one_event_is_sent_again_and_a_failure_is_told(server, &first);
    what_is_new_comes_over_a_connection_that_breaks(server);
    it_changes_nothing_and_is_in_the_audit_log(server);
    wrong_questions_are_answered_at_once(server);
    a_storm_at_our_own_door(server);
}

fn sent(server: &Server, source: &str, secret: &str, kind: &str) -> String {
    let sent = server.json(&["send", source, "--secret", secret, "--type", kind]);
    assert_eq!(sent["status"], 200);
    sent["id"].as_str().expect("an id").to_owned()
}

fn holds(scheme: Scheme, secret: &str, received: &Received) -> bool {
    let prepared = PreparedScheme::new(scheme, &[Secret::new(secret.to_owned())]);
    let at = jiff::Timestamp::now().as_second();
    let request = Request {
        headers: &received.headers,
        body: &received.body,
        now_secs: at,
        route: Route {
            url: "",
            remote: None,
            certificate: None,
        },
    };
    prepared.expect("a secret").verify(300, &request).is_ok()
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("lines of JSON")
}

fn the_past_is_sent_once_with_a_signature_of_ours(server: &Server, provider_id: &str) {
    let receiver = Receiver::answering(204);
    let ran = server.run(&[
        "listen",
        "-f",
        &receiver.url,
        "--since",
        "1h",
        "--once",
        "--json",
    ]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let said = lines(&ran.out);
    let secret = said[0]["listening"]["secret"]
        .as_str()
        .expect("a new secret");
    let mut forwarded = said
        .iter()
        .filter(|line| line["event"]["source_name"] == "pay");
    let line = forwarded.next().expect("the event");
    assert_eq!(
        (&line["status"], &line["tries"]),
        (&204.into(), &1.into()),
        "{line}"
    );
    assert_eq!(line["event"]["provider_id"], *provider_id);
    assert!(forwarded.next().is_none(), "once: {}", ran.out);
    let received = receiver.next();
    assert!(holds(Scheme::StandardWebhooks, secret, &received));
    assert_eq!(
        received.header("webhook-id"),
        line["event"]["id"].as_str().expect("an id")
    );
    assert_eq!(received.header("mainstay-event-type"), "invoice.paid");
    assert_eq!(received.header("mainstay-source"), "pay");
    assert!(receiver.is_quiet());
}

fn what_the_provider_sent_is_sent_as_it_was(server: &Server, provider_id: &str) {
    let receiver = Receiver::answering(200);
    let ran = server.run(&[
        "listen",
        "-f",
        &receiver.url,
        "--last",
        "1",
        "--source",
        "pay",
        "--once",
        "--original",
    ]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("invoice.paid") && ran.out.contains("200"),
        "{}",
        ran.out
    );
    let received = receiver.next();
    assert!(holds(Scheme::Stripe, SECRET, &received), "byte for byte");
    let body: Value = serde_json::from_slice(&received.body).expect("JSON");
    assert_eq!(body["id"], *provider_id);
}

fn one_event_is_sent_again_and_a_failure_is_told(server: &Server, provider_id: &str) {
    let found = server.json(&["event", "list", "-q", provider_id]);
    let id = found["items"][0]["id"].as_str().expect("an id").to_owned();
    let receiver = Receiver::answering(422);
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let args = ["listen", "-f", &receiver.url, "--event", &id];
    let ran = server.run_with(&args, &[("MAINSTAY_LISTEN_SECRET", own)]);
    assert_eq!(ran.code, 6, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("422") && ran.out.contains("status 422"),
        "{}",
        ran.out
    );
    assert!(
        !ran.out.contains("whsec_"),
        "a secret that was given is not shown: {}",
        ran.out
    );
    assert!(holds(Scheme::StandardWebhooks, own, &receiver.next()));
    assert!(receiver.is_quiet(), "not tried again unasked");
    let ran = server.run(&[
        "listen",
        "-f",
        &receiver.url,
        "--event",
        &id,
        "--retry",
        "1",
        "--json",
    ]);
    assert_eq!(lines(&ran.out)[1]["tries"], 2, "{}", ran.out);
    let tries = [receiver.next(), receiver.next()];
    assert_eq!(
        tries.map(|one| one.header("mainstay-attempt").to_owned()),
        ["1", "2"]
    );
    let none = server.run(&[
        "listen",
        "-f",
        &receiver.url,
        "--event",
        "evt_00000000000000000000000000",
    ]);
    assert_eq!(none.code, 3, "{}{}", none.out, none.err);
}

/// Between the command and the server: a cable that can be pulled.
struct Cable {
    address: String,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    fn to(server: &Server) -> Self {
        let target = server.address.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let open = Arc::new(Mutex::new(Vec::new()));
        let streams = Arc::clone(&open);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(&target).expect("the server listens");
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (
                        from.try_clone().expect("a copy"),
                        to.try_clone().expect("a copy"),
                    );
                    thread::spawn(move || carry(from, to));
                }
                streams.lock().expect("a lock").extend([near, far]);
            }
        });
        Self { address, open }
    }

    fn pull(&self) {
        for stream in self.open.lock().expect("a lock").drain(..) {
            // The other side may have gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 4_096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// A command that goes on, and what it says.
struct Listening {
    child: Child,
    out: Channel<String>,
    err: Channel<String>,
}

impl Listening {
    fn begin(server: &Server, address: &str, args: &[&str]) -> Self {
        let file = std::fs::read(server.data().join("api.json")).expect("the server wrote it");
        let local: Value = serde_json::from_slice(&file).expect("it is JSON");
        let mut command = server.command(args);
        command
            .args(["--url", address])
            .env(
                "MAINSTAY_API_KEY",
                local["token"].as_str().expect("a token"),
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it begins");
        let out = told(child.stdout.take().expect("piped"));
        let err = told(child.stderr.take().expect("piped"));
        Self { child, out, err }
    }

    fn next(&self) -> String {
        self.out.recv_timeout(SOON).expect("it says something")
    }

    fn remark(&self, wanted: &str) {
        loop {
            let said = self.err.recv_timeout(SOON).expect("it says something");
            if said.contains(wanted) {
                return;
            }
        }
    }

    fn interrupt(mut self) -> (Option<i32>, Vec<String>) {
        let pid = self.child.id().to_string();
        let asked = std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status();
        assert!(asked.expect("kill runs").success());
        let code = self.child.wait().expect("it ends").code();
        (code, self.out.iter().collect())
    }
}

fn told(from: impl Read + Send + 'static) -> Channel<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

fn what_is_new_comes_over_a_connection_that_breaks(server: &Server) {
    let receiver = Receiver::answering(200);
    let cable = Cable::to(server);
    let args = [
        "listen",
        "-f",
        &receiver.url,
        "--type",
        "invoice.*",
        "--last",
        "1",
    ];
    let listening = Listening::begin(server, &cable.address, &args);
    listening.remark("what is new");
    receiver.next();
    sent(server, "code", "of the code", "issues.opened");
    let mut expected = vec![sent(server, "pay", SECRET, "invoice.created")];
    let first = receiver.next();
    cable.pull();
    expected.push(sent(server, "pay", SECRET, "invoice.paid"));
    listening.remark("is lost");
    listening.remark("nothing was missed");
    expected.push(sent(server, "pay", SECRET, "invoice.voided"));
    let came = [first, receiver.next(), receiver.next()].map(|one| {
        let body: Value = serde_json::from_slice(&one.body).expect("JSON");
        body["id"].as_str().expect("an id").to_owned()
    });
    assert_eq!(came.to_vec(), expected, "in their order, each once");
    while !listening.next().contains("invoice.voided") {}
    let (code, rest) = listening.interrupt();
    assert_eq!(code, Some(0), "{rest:?}");
    let sum = rest.last().expect("a sum");
    assert!(sum.contains("4 sent: 4 answered with 2xx"), "{sum}");
    assert!(receiver.is_quiet());
}

fn it_changes_nothing_and_is_in_the_audit_log(server: &Server) {
    let jobs = server.json(&["job", "list"]);
    assert_eq!(jobs["items"].as_array().map(Vec::len), Some(0), "{jobs}");
    let looks = server.json(&["audit", "list", "--action", "event.follow"]);
    let looks = looks["items"].as_array().cloned().unwrap_or_default();
    assert!(looks.len() >= 4, "{looks:?}");
    let said = Value::from(looks).to_string();
    assert!(
        said.contains("source=pay") && !said.contains("whsec_"),
        "{said}"
    );
}

fn wrong_questions_are_answered_at_once(server: &Server) {
    let near = "http://127.0.0.1:9/";
    for (args, code, said) in [
        (vec!["listen", "-f", near, "--source", "none"], 3, "none"),
        (vec!["listen", "-f", "https://1.1.1.1/"], 2, "--public"),
        (vec!["listen", "-f", "nowhere"], 2, "URL"),
        (
            vec!["listen", "-f", near, "--tenant", "none", "--once"],
            0,
            "",
        ),
        (
            vec!["simulate", "nobody", "--to", near],
            2,
            "standard_webhooks",
        ),
        (vec!["simulate", "stripe", "--to", near], 2, "--secret"),
        (
            vec!["simulate", "paypal", "--to", near, "--secret", "x"],
            2,
            "PayPal",
        ),
    ] {
        let ran = server.run(&args);
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
    }
}

fn a_storm_at_our_own_door(server: &Server) {
    let door = format!("{}/in/pay", server.address);
    let args = [
        "simulate",
        "stripe",
        "--to",
        &door,
        "--secret",
        SECRET,
        "--seed",
        "7",
        "--events",
        "60",
        "--rate",
        "0",
        "--timeout-secs",
        "120",
    ];
    let report = server.json(&args);
    assert_eq!(
        (&report["passed"], &report["seed"]),
        (&true.into(), &7.into()),
        "{report:#}"
    );
    let rules = report["rules"].as_array().expect("rules");
    let with = |word: &str| rules.iter().filter(|rule| rule["verdict"] == word).count();
    assert_eq!((with("fail"), with("not_judged")), (0, 3), "{report:#}");
    // Each true event once, and nothing that was forged.
    let events = report["events"].as_u64().expect("a number") as usize;
    let listed = server.json(&["event", "list", "--source", "pay", "--limit", "1000"]);
    let stored = listed["items"].as_array().expect("events").len();
    assert_eq!(stored, events + 4, "and those of before");
    let forged = server.run(&[
        "simulate",
        "stripe",
        "--to",
        &door,
        "--secret",
        "whsec_another",
        "--events",
        "40",
        "--rate",
        "0",
    ]);
    assert_eq!(forged.code, 6, "{}", forged.out);
    assert!(forged.out.contains("FAIL  genuine"), "{}", forged.out);
}
