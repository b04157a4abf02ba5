//! One event, sent to a developer's handler: as Mainstay itself would push it, or as the provider sent it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use mainstay_domain::{
    intake::scheme::{Message, PreparedScheme, Scheme, Secret, generate_secret},
    jobs::headers::is_hop,
};
use reqwest::{
    Client, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde_json::{Value, json};

use super::{
    super::{
        api::text,
        args::{header_parse, now},
        failure::Failure,
        table::Tone,
    },
    ListenArgs,
    reader::Event,
};
use crate::{
    outbound::{AddressGuard, literal},
    time::SystemRandom,
};

/// How much of an answer is shown.
const ANSWER_BYTES: usize = 300;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From one try to the next, at first and at the most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often a pause looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// What became of an event.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was answered.
    Answered {
        status: u16,
        ms: u64,
        tries: u32,
        body: String,
    },
    /// It was not.
    Failed { why: String, ms: u64, tries: u32 },
    /// There is nowhere to send it.
    Listed,
    /// It is within a request that was sent already.
    Within,
}

impl Outcome {
    const fn is_good(&self) -> bool {
        matches!(
            self,
            Self::Answered {
                status: 200..=299,
                ..
            }
        )
    }

    /// For a line.
    pub(super) fn said(&self) -> (Tone, String) {
        match self {
            Self::Answered { status, ms, .. } => {
                let tone = if self.is_good() {
                    Tone::Good
                } else {
                    Tone::Bad
                };
                (tone, format!("{status}  {ms:>5} ms"))
            }
            Self::Failed { ms, .. } => (Tone::Bad, format!("ERR  {ms:>5} ms")),
            Self::Listed => (Tone::Dim, "  ·".to_owned()),
            Self::Within => (Tone::Dim, "  ·  with the request above".to_owned()),
        }
    }

    /// What helps where it failed.
    pub(super) fn detail(&self) -> Option<String> {
        let (said, tries) = match self {
            Self::Answered { body, tries, .. } if !self.is_good() => (body.clone(), *tries),
            Self::Failed { why, tries, .. } => (why.clone(), *tries),
            _ => return None,
        };
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let times = if tries > 1 {
            format!("after {tries} tries")
        } else {
            String::new()
        };
        let parts: Vec<String> = [times, said]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        (!parts.is_empty()).then(|| parts.join(": "))
    }

    /// For a program.
    pub(super) fn json(&self, about: &Value) -> Value {
        let mut line = json!({
            "event": about, "sent": true, "status": null, "ms": null, "tries": 0, "answer": null, "error": null,
        });
        if let Some(about) = line["event"].as_object_mut() {
            about.remove("headers");
        }
        match self {
            Self::Answered {
                status,
                ms,
                tries,
                body,
            } => {
                line["status"] = json!(status);
                line["ms"] = json!(ms);
                line["tries"] = json!(tries);
                if !self.is_good() {
                    line["answer"] = json!(body);
                }
            }
            Self::Failed { why, ms, tries } => {
                line["error"] = json!(why);
                line["ms"] = json!(ms);
                line["tries"] = json!(tries);
            }
            Self::Listed | Self::Within => line["sent"] = json!(false),
        }
        line
    }
}

/// Sends events to one URL.
pub(super) struct Forward {
    http: Client,
    url: Url,
    /// None: the provider's own signature goes with them.
    signing: Option<PreparedScheme>,
    /// The secret that was made.
    made: Option<String>,
    own: Vec<(String, String)>,
    tries: u32,
}

impl Forward {
    /// None where there is nowhere to send them.
    pub(super) async fn of(args: &ListenArgs) -> Result<Option<Self>, Failure> {
        let Some(url) = &args.forward else {
            return Ok(None);
        };
        let url = target(url, args.public).await?;
        let (secret, made) = match &args.secret {
            _ if args.original => (None, None),
            Some(secret) => (Some(secret.read()?), None),
            None => {
                let made = new_secret();
                (Some(made.clone()), Some(made))
            }
        };
        let signing = secret.map(|secret| {
            PreparedScheme::new(Scheme::StandardWebhooks, &[Secret::new(secret)])
                .map_err(|problem| Failure::usage(format!("the secret cannot be used: {problem}")))
        });
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(Duration::from_secs(args.timeout_secs))
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Failure::usage("cannot make requests").detail(error.to_string()))?;
        let own: Result<_, Failure> = args.headers.iter().map(|one| header_parse(one)).collect();
        Ok(Some(Self {
            http,
            url,
            signing: signing.transpose()?,
            made,
            own: own?,
            tries: args.retry.unwrap_or(0) + 1,
        }))
    }

    /// The secret, where nobody gave one.
    pub(super) fn made_secret(&self) -> Option<&str> {
        self.made.as_deref()
    }

    /// Sends it, again where that was asked for.
    pub(super) async fn send(&self, event: &Event, stop: &AtomicBool) -> Outcome {
        let mut pause = PAUSE;
        let mut tries = 1;
        loop {
            let outcome = self.try_once(event, tries).await;
            if outcome.is_good() || tries >= self.tries || !rest(pause, stop).await {
                return outcome;
            }
            tries += 1;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn try_once(&self, event: &Event, tries: u32) -> Outcome {
        let begun = Instant::now();
        let ms = || begun.elapsed().as_millis() as u64;
        let Some(body) = &event.body else {
            let why = "its body is gone, or not yours to see".to_owned();
            return Outcome::Failed { why, ms: 0, tries };
        };
        let headers = self.headers(event, body, tries);
        let request = self.http.post(self.url.clone()).headers(headers);
        match request.body(body.clone()).send().await {
            Err(error) => Outcome::Failed {
                why: cause(&error),
                ms: ms(),
                tries,
            },
            Ok(mut answer) => {
                let mut said = Vec::new();
                while said.len() < ANSWER_BYTES
                    && let Ok(Some(chunk)) = answer.chunk().await
                {
                    said.extend_from_slice(&chunk);
                }
                said.truncate(ANSWER_BYTES);
                Outcome::Answered {
                    status: answer.status().as_u16(),
                    ms: ms(),
                    tries,
                    body: String::from_utf8_lossy(&said).into_owned(),
                }
            }
        }
    }

    /// As Mainstay's own pushes have them. There is no job, so the event's id is the message's: the same when it is sent
    /// again.
    fn headers(&self, event: &Event, body: &[u8], tries: u32) -> HeaderMap {
        let about = &event.about;
        let id = text(about, "/id");
        let mut headers = HeaderMap::new();
        set(
            &mut headers,
            "user-agent",
            concat!("Mainstay/", env!("CARGO_PKG_VERSION")),
        );
        match &self.signing {
            Some(scheme) => {
                set(&mut headers, "content-type", "application/json");
                let message = Message {
                    id: &id,
                    kind: "",
                    timestamp_secs: now().as_second(),
                    body,
                };
                for (name, value) in scheme.sign(&message) {
                    set(&mut headers, &name, &value);
                }
            }
            None => {
                let known = about.get("headers").and_then(Value::as_object);
                for (name, value) in known.into_iter().flatten() {
                    if let Some(value) = value.as_str().filter(|_| !is_hop(name)) {
                        set(&mut headers, name, value);
                    }
                }
            }
        }
        set(&mut headers, "mainstay-attempt", &tries.to_string());
        set(&mut headers, "mainstay-event-id", &id);
        set(&mut headers, "mainstay-event-type", &text(about, "/type"));
        set(
            &mut headers,
            "mainstay-source",
            &text(about, "/source_name"),
        );
        for (name, value) in &self.own {
            set(&mut headers, name, value);
        }
        headers
    }
}

/// What no request could carry is left out.
pub(in super::super) fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
        headers.insert(name, value);
    }
}

/// Whether to go on afterwards.
async fn rest(pause: Duration, stop: &AtomicBool) -> bool {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    !stop.load(Ordering::Relaxed)
}

fn new_secret() -> String {
    use mainstay_domain::Random as _;
    let mut random = [0; 32];
    SystemRandom.fill(&mut random);
    generate_secret(&Scheme::StandardWebhooks, &random)
}

/// The last reason of a failed request: the others say that it failed.
pub(in super::super) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut why: &dyn std::error::Error = error;
    while let Some(source) = why.source() {
        why = source;
    }
    why.to_string()
}

/// Customers' data goes to this machine and its network, unless somebody says otherwise.
async fn target(text: &str, public: bool) -> Result<Url, Failure> {
    let wrong = || {
        Failure::usage(format!("'{text}' is not a URL to send to"))
            .hint("such as http://localhost:3000/webhooks")
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(wrong());
    };
    if !["http", "https"].contains(&url.scheme()) {
        return Err(wrong());
    }
    if public || host == "localhost" || host.ends_with(".localhost") {
        return Ok(url);
    }
    let addresses = match literal(host) {
        Some(address) => vec![address],
        None => {
            let found = tokio::net::lookup_host((host, port)).await;
            let found = found.map_err(|error| {
                Failure::usage(format!("{host} has no address")).detail(error.to_string())
            })?;
            found.map(|address| address.ip()).collect()
        }
    };
    let guard = AddressGuard::default();
    if addresses
        .iter()
        .any(|address| guard.admit(*address).is_ok())
    {
        return Err(Failure::usage(format!("{host} is on the public internet"))
            .hint("--public sends there all the same; payloads are your customers' data"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_this_machine_and_its_network_are_sent_to_unasked() {
        for near in [
            "http://localhost:3000/hook",
            "http://app.localhost/",
            "http://127.0.0.1:1",
            "http://[::1]:8080/x",
            "http://192.168.1.20/",
            "https://10.0.0.1/",
        ] {
            assert!(target(near, false).await.is_ok(), "{near}");
        }
        for wrong in ["localhost:3000", "ftp://localhost/", "/hook", "http://"] {
            assert!(target(wrong, true).await.is_err(), "{wrong}");
        }
        assert!(target("https://1.1.1.1/", false).await.is_err());
        assert!(target("https://1.1.1.1/", true).await.is_ok());
    }

    #[test]
    fn a_failure_says_what_helps_and_a_success_nothing() {
        let answered = |status| Outcome::Answered {
            status,
            ms: 3,
            tries: 2,
            body: "no such\n user".into(),
        };
        assert_eq!(answered(204).detail(), None);
        assert_eq!(
            answered(404).detail().as_deref(),
            Some("after 2 tries: no such user")
        );
        let line = answered(404).json(&json!({ "id": "evt_1", "headers": { "a": "b" } }));
        assert_eq!(line["event"], json!({ "id": "evt_1" }));
        assert_eq!(
            (&line["status"], &line["answer"]),
            (&json!(404), &json!("no such\n user"))
        );
    }
}
