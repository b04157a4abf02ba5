//! A worker gives signs of life for the jobs in its hands, says how far they are, and hears which were cancelled.

use std::sync::Arc;

use axum::{Json, extract::State};
use mainstay::jobs::{
    machine::Standing,
    workers::{Beat, Progress},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{problem, token::Token, worker};
use crate::{
    access::Caller,
    api::jobs::ProgressView,
    http::{
        Problem,
        extract::{Checks, Input},
    },
    limits,
    state::App,
};

/// A sign of life.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeatInput {
    /// Of the attempt that was handed out with it.
    token: String,
    /// How far it is. Left out: as far as before.
    progress: Option<ProgressView>,
}

/// Signs of life.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeartbeatInput {
    /// The worker's name.
    #[schema(min_length = 1, max_length = 100)]
    worker: String,
    #[schema(min_items = 1, max_items = 1000)]
    beats: Vec<BeatInput>,
}

/// How an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HandState {
    /// In the worker's hands, for one lease more.
    Held,
    /// A person has cancelled the job: there is nothing more to do about it.
    Cancelled,
    /// It has an outcome, or its lease ran out: whatever is told of it counts for nothing.
    Ended,
    /// Not known yet: the jobs have just got another owner. Go on.
    Unknown,
}

/// How an attempt stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BeatView {
    token: String,
    state: HandState,
}

/// How attempts stand.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeartbeatView {
    /// In the same order.
    beats: Vec<BeatView>,
}

/// Give signs of life
///
/// Each renews the lease of its attempt. Three in the time of a lease are enough for one to get lost.
#[utoipa::path(post, path = "/v1/workers/heartbeat", tag = "jobs", request_body = HeartbeatInput,
    responses((status = 200, body = HeartbeatView)))]
pub(super) async fn worker_heartbeat(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<HeartbeatInput>,
) -> Result<Json<HeartbeatView>, Problem> {
    caller.everywhere()?;
    let input = input.value;
    let mut checks = Checks::default();
    let worker = worker(&caller, input.worker, &mut checks);
    let count = input.beats.len();
    let most = limits::BEATS_MAX;
    let fits = (1..=most).contains(&count);
    checks.ensure(fits, "/beats", &format!("must have 1 to {most} of them"));
    let mut beats = Vec::with_capacity(count.min(most));
    for (index, beat) in input.beats.iter().enumerate().take(most) {
        let at = format!("/beats/{index}");
        let Some(token) = Token::decode(&beat.token) else {
            checks.fail(format!("{at}/token"), "is no token of a job in hand");
            continue;
        };
        let progress = beat.progress.as_ref();
        beats.push(Beat {
            job: token.job,
            attempt: token.attempt,
            progress: progress.map(|progress| checked(progress, &at, &mut checks)),
        });
    }
    checks.done()?;
    let workers = app.mainstay.engine.workers();
    let standings = workers.beat(worker, beats).await.map_err(problem)?;
    let beats = input.beats.into_iter().zip(standings);
    let beats = beats.map(|(beat, standing)| BeatView {
        token: beat.token,
        state: match standing {
            Standing::InHand => HandState::Held,
            Standing::Cancelled => HandState::Cancelled,
            Standing::Ended => HandState::Ended,
            Standing::NotYet => HandState::Unknown,
        },
    });
    Ok(Json(HeartbeatView {
        beats: beats.collect(),
    }))
}

fn checked(progress: &ProgressView, at: &str, checks: &mut Checks) -> Progress {
    let fits = progress.percent.is_none_or(|percent| percent <= 100);
    let place = format!("{at}/progress/percent");
    checks.ensure(fits, &place, "must be 0 to 100");
    if let Some(note) = &progress.note {
        checks.text(&format!("{at}/progress/note"), note, 500);
    }
    Progress {
        percent: progress.percent,
        note: progress.note.clone(),
    }
}
