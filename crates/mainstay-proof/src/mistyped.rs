//! A provider whose secret was mistyped at first. What it sends is refused and kept in the quarantine, while the server dies
//! again and again; then the secret is mended, what was refused is verified again (while the server dies), and the
//! provider itself sends half of it once more. Each event must come in once, whichever way it came.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    api::Api,
    dice::Dice,
    events::{Message, Provider, message},
    http::Client,
    process::unix_secs,
    sign,
};

/// The name of its source.
pub const SOURCE: &str = "mistyped";
/// Between two of its requests.
const PAUSE: Duration = Duration::from_millis(40);
/// How long it waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often one request is sent before it is given up.
const SENDS_MAX: u32 = 1_000;

/// The provider.
#[derive(Debug)]
pub struct Mistyped {
    address: String,
    secret: String,
    source: String,
    sent: Mutex<Sent>,
    stop: AtomicBool,
}

/// What it has sent.
#[derive(Debug, Default, Clone)]
pub struct Sent {
    /// Every message, answered or not.
    pub messages: Vec<Message>,
    /// How many were answered as forged.
    pub refused: u64,
    /// How many were taken although the secret was wrong. Must stay 0.
    pub taken: u64,
    /// Those that were sent again and acknowledged once the secret was right, by their marks.
    pub acknowledged: Vec<String>,
}

impl Mistyped {
    /// Declares its source, with a secret that is none of the provider's, and binds it to this endpoint.
    pub async fn declare(
        api: &mut Api,
        address: String,
        dice: &Dice,
        endpoint: &str,
    ) -> anyhow::Result<Arc<Self>> {
        let provider = Provider::Standard;
        let [wrong, secret] = [(); 2].map(|()| sign::secret(provider, &dice.hex(64)));
        let body = json!({ "name": SOURCE, "scheme": provider.scheme(), "secret": wrong });
        let made = api.post("/v1/sources", &body).await?;
        api.binding_declare(SOURCE, endpoint).await?;
        Ok(Arc::new(Self {
            address,
            secret,
            source: made["source"]["id"]
                .as_str()
                .context("a source has an id")?
                .to_owned(),
            sent: Mutex::default(),
            stop: AtomicBool::new(false),
        }))
    }

    /// Sends until it is told to stop. Whoever gets no answer goes on with the next.
    pub fn start(self: &Arc<Self>, seed: u64) -> JoinHandle<anyhow::Result<()>> {
        let provider = Arc::clone(self);
        tokio::spawn(async move {
            let dice = Dice::new(seed);
            let mut client = Client::new(&provider.address, ANSWER_TIMEOUT);
            while !provider.stop.load(Ordering::Relaxed) {
                let message = message(Provider::Standard, &dice, unix_secs());
                provider.sent().messages.push(message.clone());
                match provider.send(&mut client, &message).await? {
                    Some(200..300) => provider.sent().taken += 1,
                    Some(400..429) => provider.sent().refused += 1,
                    _ => {}
                }
                sleep(PAUSE).await;
            }
            Ok(())
        })
    }

    /// Tells it to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// What it has sent so far.
    pub fn sent_so_far(&self) -> Sent {
        self.sent().clone()
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status of the answer; none: there was none.
    async fn send(&self, client: &mut Client, message: &Message) -> anyhow::Result<Option<u16>> {
        let headers = sign::headers(message, &self.secret, unix_secs())?;
        let path = format!("/in/{SOURCE}");
        let answer = client.send("POST", &path, &headers, message.body.clone());
        Ok(answer.await.ok().map(|answer| answer.status))
    }

    /// Gives the source the right secret beside the wrong one, as soon as the server can be asked.
    pub async fn mend(&self, api: &mut Api) -> anyhow::Result<()> {
        let path = format!("/v1/sources/{}", self.source);
        let secret = json!({ "secret": self.secret });
        for _ in 0..SENDS_MAX {
            // An answer that was lost is no reason to have it twice.
            let made = api.post(&format!("{path}/secrets"), &secret).await.is_ok();
            let known = api.get(&path).await;
            let secrets = known
                .ok()
                .and_then(|source| Some(source["secrets"].as_array()?.len()));
            if made || secrets > Some(1) {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        bail!("the secret cannot be mended")
    }

    /// Verifies again what was refused, to the end; answers how many are genuine and still kept afterwards.
    pub async fn reverify(&self, api: &mut Api) -> anyhow::Result<u64> {
        let path = format!("/v1/sources/{}/reverify", self.source);
        for plan in [false, true] {
            let (mut after, mut genuine) = (Value::Null, 0);
            loop {
                let done = api
                    .post(&path, &json!({ "plan": plan, "after": after }))
                    .await?;
                genuine += done["genuine"].as_u64().unwrap_or(0);
                after = done["next"].clone();
                if after.is_null() {
                    break;
                }
            }
            if plan {
                return Ok(genuine);
            }
        }
        Ok(0)
    }

    /// Sends every second message once more, as a provider does that had no 2xx for it, until each is acknowledged.
    pub async fn send_again(&self) -> anyhow::Result<()> {
        let messages = self.sent().messages.clone();
        let mut client = Client::new(&self.address, ANSWER_TIMEOUT);
        for message in messages.into_iter().step_by(2) {
            let mut sends = 0;
            while !matches!(self.send(&mut client, &message).await?, Some(200..300)) {
                sends += 1;
                ensure!(sends < SENDS_MAX, "a true request is not acknowledged");
                sleep(PAUSE).await;
            }
            self.sent().acknowledged.extend(message.marks);
        }
        Ok(())
    }
}
