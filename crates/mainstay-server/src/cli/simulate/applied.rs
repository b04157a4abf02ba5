//! How often a handler has applied each event, in its own words: a contract of one request.
//!
//! `POST URL` with `{"ids": ["evt_1", …]}` is answered with `{"applied": {"evt_1": 1, …}}`; what is not named was not
//! applied. Without such an answer nobody outside can know, and nothing is claimed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use reqwest::{Client, header::HeaderMap};
use serde::Deserialize;
use serde_json::json;

use super::super::{
    failure::{Exit, Failure},
    listen::{cause, header_set},
};

/// Ids in one question.
const ASKED: usize = 500;
/// The largest answer.
const ANSWER_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Counted {
    applied: BTreeMap<String, u64>,
}

/// Asks a handler.
pub(super) struct Ledger {
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    /// How long what was acknowledged may take to be applied.
    pub(super) settle: Duration,
}

impl Ledger {
    /// The counts, once every true event was applied and there was time for a second time; or when the time is over.
    pub(super) async fn settled(
        &self,
        genuine: &BTreeSet<String>,
        forged: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, u64>, Failure> {
        let all: Vec<&String> = genuine.iter().chain(forged).collect();
        let until = Instant::now() + self.settle;
        let mut whole = false;
        loop {
            let counts = self.counts(&all).await?;
            let applied = |id: &&String| counts.get(*id).is_some_and(|count| *count > 0);
            let now_whole = genuine.iter().all(|id| applied(&id));
            if (whole && now_whole) || Instant::now() >= until {
                return Ok(counts);
            }
            whole = now_whole;
            tokio::time::sleep(LOOK.min(self.settle)).await;
        }
    }

    async fn counts(&self, ids: &[&String]) -> Result<BTreeMap<String, u64>, Failure> {
        let http = Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::usage("cannot make requests").detail(error.to_string()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            header_set(&mut headers, name, value);
        }
        let mut counts = BTreeMap::new();
        for ids in ids.chunks(ASKED) {
            let question = json!({ "ids": ids });
            let request = http
                .post(&self.url)
                .headers(headers.clone())
                .json(&question);
            let failed = |why: String| {
                Failure::new(
                    Exit::Failed,
                    format!("{} does not say what was applied", self.url),
                )
                .detail(why)
                .hint("it is asked by POST with {\"ids\": [\"…\"]} and answers {\"applied\": {\"…\": 1}}")
            };
            let mut answer = request
                .send()
                .await
                .map_err(|error| failed(cause(&error)))?;
            if !answer.status().is_success() {
                return Err(failed(format!("it answered {}", answer.status())));
            }
            let mut body = Vec::new();
            while let Some(chunk) = answer
                .chunk()
                .await
                .map_err(|error| failed(cause(&error)))?
            {
                body.extend_from_slice(&chunk);
                if body.len() > ANSWER_BYTES_MAX {
                    return Err(failed("its answer is larger than 4 MiB".into()));
                }
            }
            let counted: Counted = serde_json::from_slice(&body)
                .map_err(|error| failed(format!("its answer is something else: {error}")))?;
            counts.extend(counted.applied);
        }
        Ok(counts)
    }
}
