//! Plays a plan: requests at a rate, over several connections, and what became of each.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream};
use reqwest::{Client, header::HeaderMap, redirect::Policy};

use super::{
    super::{
        failure::Failure,
        listen::{cause, header_set},
    },
    plan::{Plan, Shot, Track},
    tell::Signer,
};
use crate::cli::args::now;

/// How much of an answer is kept as evidence.
const ANSWER_BYTES: usize = 200;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests at the same time when very much comes at once, for each that there are otherwise.
const BURST_TIMES: usize = 4;

/// What a request was answered with.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// A status, and how the body begins.
    Status(u16, String),
    /// Nothing, and why.
    None(String),
}

/// A request and its answer.
#[derive(Debug, Clone)]
pub(super) struct Played {
    pub(super) shot: Shot,
    /// Whether it was sent at the same time as another one of the same event.
    pub(super) with_others: bool,
    pub(super) answer: Answer,
    pub(super) took: Duration,
}

/// How to play.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Requests in a second; none: as fast as they go.
    pub(super) rate: Option<u32>,
    /// Tracks at the same time.
    pub(super) concurrency: usize,
    /// How long the provider waits for an answer.
    pub(super) timeout: Duration,
}

/// Sends what a signer signs.
pub(super) struct Player<'a> {
    http: Client,
    signer: &'a Signer,
    own: Vec<(String, String)>,
    pace: Pace,
    /// When the next request may go out.
    next: Mutex<Instant>,
}

impl<'a> Player<'a> {
    pub(super) fn new(
        signer: &'a Signer,
        own: Vec<(String, String)>,
        pace: Pace,
    ) -> Result<Self, Failure> {
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(pace.timeout))
            .timeout(pace.timeout)
            .redirect(Policy::none())
            .user_agent(concat!("mainstay-simulate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::usage("cannot make requests").detail(error.to_string()))?;
        Ok(Self {
            http,
            signer,
            own,
            pace,
            next: Mutex::new(Instant::now()),
        })
    }

    /// Everything, in the order in which it ends.
    pub(super) async fn play(&self, plan: &Plan) -> Vec<Played> {
        let mut played = self
            .tracks(&plan.tracks, self.pace.concurrency, false)
            .await;
        let at_once = self.pace.concurrency * BURST_TIMES;
        played.extend(self.tracks(&plan.burst, at_once, true).await);
        played
    }

    async fn tracks(&self, tracks: &[Track], at_once: usize, burst: bool) -> Vec<Played> {
        let all = tracks.iter().map(|track| self.track(track, burst));
        let played: Vec<Vec<Played>> = stream::iter(all).buffer_unordered(at_once).collect().await;
        played.into_iter().flatten().collect()
    }

    async fn track(&self, track: &Track, burst: bool) -> Vec<Played> {
        let mut played = Vec::new();
        for round in track {
            let with_others = round.len() > 1;
            let shots = round
                .iter()
                .map(|shot| self.shoot(shot, burst, with_others));
            played.extend(join_all(shots).await);
        }
        played
    }

    async fn shoot(&self, shot: &Shot, burst: bool, with_others: bool) -> Played {
        if !burst {
            self.wait_for_turn().await;
        }
        let at = now().as_second() - shot.age_secs;
        let signed = self.signer.sign(&shot.told, at, shot.forgery);
        let mut headers = HeaderMap::new();
        for (name, value) in signed.headers.iter().chain(&self.own) {
            header_set(&mut headers, name, value);
        }
        let request = self.http.post(&signed.url).headers(headers);
        let begun = Instant::now();
        let sent = request.body(signed.body).send().await;
        let answer = match sent {
            Err(error) => Answer::None(cause(&error)),
            Ok(mut answer) => {
                let mut said = Vec::new();
                let mut broken = None;
                loop {
                    match answer.chunk().await {
                        Ok(Some(chunk)) => {
                            let room = ANSWER_BYTES.saturating_sub(said.len());
                            said.extend_from_slice(&chunk[..chunk.len().min(room)]);
                        }
                        Ok(None) => break,
                        Err(error) => {
                            broken = Some(cause(&error));
                            break;
                        }
                    }
                }
                let said = String::from_utf8_lossy(&said).into_owned();
                match broken {
                    None => Answer::Status(answer.status().as_u16(), said),
                    Some(why) => Answer::None(why),
                }
            }
        };
        Played {
            shot: shot.clone(),
            with_others,
            answer,
            took: begun.elapsed(),
        }
    }

    async fn wait_for_turn(&self) {
        let Some(rate) = self.pace.rate else { return };
        let step = Duration::from_secs(1) / rate.max(1);
        let turn = {
            let mut next = self
                .next
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + step;
            turn
        };
        tokio::time::sleep_until(turn.into()).await;
    }
}
