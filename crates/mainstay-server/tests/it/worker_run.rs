//! `mainstay worker run` and an API that plays tricks on it: what it is answered is decided here, request by request.

use std::{
    cell::RefCell,
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    receiver::{self, Received},
    server::binary,
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// A third of the shortest lease: when signs of life are due.
const BEAT: Duration = Duration::from_millis(5_000 / 3);

/// A request that waits for its answer.
struct Asked {
    path: String,
    body: Value,
    answer: Sender<(u16, Value)>,
}

impl Asked {
    fn answer(self, status: u16, body: Value) {
        // Whoever is gone needs none.
        let _ = self.answer.send((status, body));
    }

    fn refuse(self, code: &str) {
        let body = json!({ "type": "about:blank", "title": code, "status": 503, "detail": code, "code": code });
        self.answer(503, body);
    }

    fn held(self) {
        let beats = self.body["beats"].as_array().cloned().unwrap_or_default();
        let beats = beats
            .iter()
            .map(|beat| json!({ "token": beat["token"], "state": "held" }));
        let beats: Vec<Value> = beats.collect();
        self.answer(200, json!({ "beats": beats }));
    }
}

/// An API, and a worker that asks it.
struct Fake {
    asked: Receiver<Asked>,
    /// Those who ask for jobs, and wait.
    waiting: RefCell<Vec<Asked>>,
    worker: Child,
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.worker.kill();
        let _ = self.worker.wait();
    }
}

impl Fake {
    /// A worker that runs this for each job.
    fn running(script: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let (sender, asked) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                thread::spawn(move || serve(stream, &sender));
            }
        });
        let worker = binary()
            .args(["worker", "run", "--queue", "q", "--lease-secs", "5"])
            .args(["--name", "w", "--", "sh", "-c", script])
            .env("MAINSTAY_URL", format!("http://{address}"))
            .env("MAINSTAY_API_KEY", "msk_test")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        Self {
            asked,
            waiting: RefCell::default(),
            worker,
        }
    }

    /// The next request to this path; whoever asks for jobs meanwhile waits without an answer.
    fn next(&self, path: &str) -> Asked {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let asked = self.asked.recv_timeout(left).expect("it is asked");
            if asked.path == path {
                return asked;
            }
            // A second request of the kind that is waited for would be one too many.
            assert_eq!(asked.path, PULL, "beside {path}");
            self.waiting.borrow_mut().push(asked);
        }
    }

    fn hand_out_one(&self) {
        let job = json!({
            "token": "token-1", "id": "job_1", "tenant_id": "ten_1", "queue": "q", "kind": "a.kind", "payload": 7,
            "attempt": 1, "tries": 1, "lease_secs": 5, "created_at": "2030-01-02T03:04:05Z",
        });
        let asked = self.next(PULL);
        asked.answer(200, json!({ "jobs": [job], "outcomes": [] }));
    }
}

const PULL: &str = "/v1/workers/pull";
const BEATS: &str = "/v1/workers/heartbeat";
const REPORT: &str = "/v1/workers/report";

fn serve(stream: TcpStream, sender: &Sender<Asked>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let Received { path, body, .. } = receiver::read(&mut reader)?;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let (answer, answered) = channel();
        sender.send(Asked { path, body, answer }).ok()?;
        let (status, body) = answered.recv().ok()?;
        let body = body.to_string();
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n\r\n");
        writer.write_all((head + &body).as_bytes()).ok()?;
    }
}

#[test]
fn a_sign_of_life_that_another_node_refused_is_given_again_before_the_next_is_due() {
    let fake = Fake::running("sleep 30");
    fake.hand_out_one();
    let first = fake.next(BEATS);
    assert_eq!(first.body["beats"], json!([{ "token": "token-1" }]));
    let began = Instant::now();
    first.refuse("not_the_owner");
    fake.next(BEATS).refuse("owner_starting");
    fake.next(BEATS).held();
    let took = began.elapsed();
    assert!(took < BEAT, "{took:?}");
    // Once it has an answer it waits for the next.
    fake.next(BEATS).held();
    assert!(began.elapsed() - took > BEAT / 2);
}

#[test]
fn jobs_are_asked_for_again_at_once_where_another_node_owns_them() {
    let fake = Fake::running("exit 0");
    let began = Instant::now();
    fake.next(PULL).refuse("not_the_owner");
    fake.next(PULL).refuse("not_the_owner");
    fake.hand_out_one();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn signs_of_life_are_given_until_the_outcome_could_be_told() {
    let fake = Fake::running("cat");
    fake.hand_out_one();
    let mut refused = 0;
    let mut beaten = 0;
    let told = loop {
        let asked = fake.asked.recv_timeout(PATIENCE).expect("it is asked");
        match asked.path.as_str() {
            // The command has ended by then.
            REPORT if beaten < 2 => {
                refused += 1;
                asked.refuse("not_the_owner");
            }
            REPORT => break asked,
            BEATS if refused > 0 => {
                assert_eq!(asked.body["beats"], json!([{ "token": "token-1" }]));
                beaten += 1;
                asked.held();
            }
            BEATS => asked.held(),
            _ => fake.waiting.borrow_mut().push(asked),
        }
    };
    let outcome = json!({ "token": "token-1", "outcome": "completed", "result": 7 });
    assert_eq!(told.body["outcomes"], json!([outcome]));
    told.answer(200, json!({ "outcomes": [] }));
    // Two signs of life are more than two seconds; longer and longer pauses would have been fewer.
    assert!(refused >= 5, "it was told only {refused} times");
}
