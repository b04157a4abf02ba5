//! `mainstay worker run`: a worker in any language. Each job is a run of a command: the payload on standard input, what else is
//! known in variables, the result on standard output, success or failure in the exit code.

use std::{collections::HashMap, process::Stdio, sync::Arc, time::Duration};

use clap::Args;
use mainstay_domain::Random;
use serde_json::{Value, json};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::MissedTickBehavior,
};

use super::command::{Done, carry_out};
use crate::{
    cli::{
        Context,
        api::{Api, list, text},
        failure::{Exit, Failure},
    },
    limits,
    time::{SystemRandom, random_hex},
};

/// How long one request for jobs waits at the server.
const WAIT_SECS: u64 = 20;
/// How often one that ends with the last job looks for more.
const ONCE_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause while the server is away.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The pause where only another node has to be asked, which is told by these codes; and the longest such pause between
/// requests for jobs. Leases go on meanwhile, so signs of life and outcomes do not wait longer each time.
const PAUSE_NEAR: Duration = Duration::from_millis(250);
const PAUSE_NEAR_MAX: Duration = Duration::from_secs(1);
const ELSEWHERE: [&str; 2] = ["not_the_owner", "owner_starting"];

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Take the jobs of this queue; may be given several times
    #[arg(long = "queue", value_name = "QUEUE", required = true)]
    queues: Vec<String>,
    /// How many commands run at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    concurrency: u32,
    /// The worker's name, its own [default: one that is made up]
    #[arg(long)]
    name: Option<String>,
    /// For how long a job is in hand without a sign of life, should this process die
    #[arg(long, value_name = "SECS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(5..=3600))]
    lease_secs: u32,
    /// End once there is no job left
    #[arg(long)]
    once: bool,
    /// What to run for each job
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// A job whose command runs.
struct Running {
    /// Dropped, the command is ended.
    _end: oneshot::Sender<()>,
}

struct Worker<'c> {
    context: &'c Context,
    api: Arc<Api>,
    args: RunArgs,
    name: String,
    running: HashMap<String, Running>,
    commands: JoinSet<Done>,
    untold: Vec<Value>,
}

/// A request that is under way. It goes on whatever else happens: what it is answered may be jobs.
type Call = JoinHandle<Result<Value, Failure>>;

pub(super) async fn run(context: &Context, args: RunArgs) -> Result<(), Failure> {
    let name = args.name.clone();
    let name = name.unwrap_or_else(|| format!("run-{}", random_hex(&SystemRandom, 4)));
    context
        .out
        .remark(&format!("{name} takes jobs of {}", args.queues.join(", ")));
    let mut worker = Worker {
        api: Arc::new(context.api()?),
        context,
        args,
        name,
        running: HashMap::new(),
        commands: JoinSet::new(),
        untold: Vec::new(),
    };
    let stop = stops()?;
    worker.work(stop).await
}

/// Turns true when the worker is asked to stop.
fn stops() -> Result<watch::Receiver<bool>, Failure> {
    let (tell, stop) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::output)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        tell.send_replace(true);
        // As long as somebody listens.
        tell.closed().await;
    });
    Ok(stop)
}

/// The requests of a worker that are under way, and how long to wait before the next of each kind.
#[derive(Default)]
struct Talk {
    asking: Option<Call>,
    ask_pause: Duration,
    telling: Option<Call>,
    tell_pause: Duration,
    /// How many outcomes are told.
    told: usize,
    beating: Option<Call>,
}

impl Worker<'_> {
    async fn work(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), Failure> {
        let mut beats = tokio::time::interval(self.beat_every());
        // What was not due while nothing was in hand is not made up for.
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut talk = Talk::default();
        loop {
            let stopping = *stop.borrow();
            self.speak(&mut talk, stopping);
            if stopping && self.commands.is_empty() && talk.telling.is_none() {
                return Ok(());
            }
            tokio::select! {
                answer = answered(&mut talk.asking), if talk.asking.is_some() => {
                    if self.asked(&mut talk, answer)? {
                        return Ok(());
                    }
                }
                answer = answered(&mut talk.telling), if talk.telling.is_some() => match answer {
                    Ok(_) => {
                        talk.tell_pause = Duration::ZERO;
                        self.untold.drain(..talk.told);
                    }
                    Err(failure) if failure.is_code(&ELSEWHERE) => talk.tell_pause = PAUSE_NEAR,
                    Err(failure) => talk.tell_pause = self.away(failure, talk.tell_pause)?,
                },
                answer = answered(&mut talk.beating), if talk.beating.is_some() => match answer {
                    Ok(answer) => self.stand(&answer),
                    // A lease ends while one waits for the next.
                    Err(failure) if failure.is_code(&ELSEWHERE) => talk.beating = self.beat(PAUSE_NEAR),
                    // The server is away. When it is back it grants everybody a lease more.
                    Err(_) => {}
                },
                Some(done) = self.commands.join_next(), if !self.commands.is_empty() => {
                    let done = done.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
                    self.running.remove(&done.token);
                    self.untold.extend(done.outcome);
                    self.context.out.remark(&done.line);
                }
                _ = beats.tick(), if talk.beating.is_none() && self.has_in_hand() => {
                    talk.beating = self.beat(Duration::ZERO);
                }
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    self.context.out.remark("stopping: what runs is finished");
                }
            }
        }
    }

    /// Begins the requests that are due.
    fn speak(&self, talk: &mut Talk, stopping: bool) {
        if stopping && let Some(asked) = talk.asking.take() {
            // Whatever it would be answered goes back: nobody takes it.
            asked.abort();
        }
        if talk.telling.is_none() && !self.untold.is_empty() {
            talk.told = self.untold.len().min(limits::OUTCOMES_MAX);
            talk.telling = Some(self.tell(talk.tell_pause, talk.told));
        }
        let taken = self.commands.len() as u32;
        let free = self.args.concurrency.saturating_sub(taken);
        // Whose outcomes cannot be told takes no more.
        let told = self.untold.len() < limits::OUTCOMES_MAX;
        if talk.asking.is_none() && !stopping && free > 0 && told {
            talk.asking = Some(self.ask(talk.ask_pause, free));
        }
    }

    /// What comes of a request for jobs; whether that was all.
    fn asked(&mut self, talk: &mut Talk, answer: Result<Value, Failure>) -> Result<bool, Failure> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) if failure.is_code(&ELSEWHERE) => {
                if talk.ask_pause.is_zero() {
                    let again = format!("{}; asked again until it answers", failure.told());
                    self.context.out.remark(&again);
                }
                talk.ask_pause = (talk.ask_pause * 2).clamp(PAUSE_NEAR, PAUSE_NEAR_MAX);
                return Ok(false);
            }
            Err(failure) => {
                talk.ask_pause = self.away(failure, talk.ask_pause)?;
                return Ok(false);
            }
        };
        talk.ask_pause = Duration::ZERO;
        let none = self.begin(&answer) == 0;
        if self.args.once && none {
            // What runs may make more.
            talk.ask_pause = ONCE_PAUSE;
        }
        Ok(self.args.once && none && self.commands.is_empty() && talk.telling.is_none())
    }

    /// The pause before the next request, longer each time; nothing helps where the server says no.
    fn away(&self, failure: Failure, pause: Duration) -> Result<Duration, Failure> {
        if failure.is_final() {
            return Err(failure);
        }
        let pause = (pause * 2).clamp(Duration::from_secs(1), PAUSE_MAX);
        let again = format!("{}; again in {} s", failure.told(), pause.as_secs());
        self.context.out.remark(&again);
        Ok(pause)
    }

    /// Asks for so many jobs.
    fn ask(&self, pause: Duration, free: u32) -> Call {
        let body = json!({
            "worker": self.name,
            "queues": self.args.queues,
            "max": free,
            "lease_secs": self.args.lease_secs,
            "wait_secs": if self.args.once { 0 } else { WAIT_SECS },
        });
        self.call(pause, "/v1/workers/pull", body)
    }

    /// Says how the first so many jobs went.
    fn tell(&self, pause: Duration, count: usize) -> Call {
        let body = json!({ "worker": self.name, "outcomes": self.untold[..count] });
        self.call(pause, "/v1/workers/report", body)
    }

    fn call(&self, pause: Duration, path: &'static str, body: Value) -> Call {
        let api = Arc::clone(&self.api);
        tokio::spawn(async move {
            tokio::time::sleep(jittered(pause)).await;
            match api.post(path, &body).await {
                // All of them count for nothing any more: that is an answer, too.
                Err(failure) if failure.is_code(&["lease_ended", "job_cancelled"]) => {
                    Ok(Value::Null)
                }
                answered => answered,
            }
        })
    }

    /// Starts a command for each job of an answer; answers how many.
    fn begin(&mut self, answer: &Value) -> usize {
        let jobs = list(answer, "/jobs");
        for job in jobs {
            let token = text(job, "/token");
            let (end, ended) = oneshot::channel();
            self.running.insert(token.clone(), Running { _end: end });
            let command = self.command(job);
            let payload = match &job["payload"] {
                Value::Null => String::new(),
                payload => payload.to_string(),
            };
            let said = format!("{} {}", text(job, "/id"), text(job, "/kind"));
            self.commands
                .spawn(carry_out(command, payload, token, said, ended));
        }
        jobs.len()
    }

    fn command(&self, job: &Value) -> Command {
        let mut parts = self.args.command.iter();
        let mut command = Command::new(parts.next().map_or("", String::as_str));
        command.args(parts);
        for (name, pointer) in [
            ("MAINSTAY_JOB_ID", "/id"),
            ("MAINSTAY_JOB_KIND", "/kind"),
            ("MAINSTAY_JOB_QUEUE", "/queue"),
            ("MAINSTAY_JOB_TENANT", "/tenant_id"),
            ("MAINSTAY_JOB_ATTEMPT", "/attempt"),
            ("MAINSTAY_JOB_TRIES", "/tries"),
        ] {
            command.env(name, text(job, pointer));
        }
        // What the command has no business with.
        command.env_remove("MAINSTAY_API_KEY");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        command
    }

    /// Three in the time of a lease.
    fn beat_every(&self) -> Duration {
        Duration::from_secs(u64::from(self.args.lease_secs)) / 3
    }

    /// Whether there is anything to give signs of life for: what runs, and what ended and could not be told yet.
    fn has_in_hand(&self) -> bool {
        !self.running.is_empty() || !self.untold.is_empty()
    }

    /// Signs of life for all that is in hand, if anything is.
    fn beat(&self, pause: Duration) -> Option<Call> {
        let running = self.running.keys().cloned();
        let untold = self.untold.iter().map(|outcome| text(outcome, "/token"));
        let beats = running.chain(untold).map(|token| json!({ "token": token }));
        let beats: Vec<Value> = beats.take(limits::BEATS_MAX).collect();
        if beats.is_empty() {
            return None;
        }
        let body = json!({ "worker": self.name, "beats": beats });
        let call = self.call(pause, "/v1/workers/heartbeat", body);
        let within = self.beat_every();
        Some(tokio::spawn(async move {
            let late = || Failure::new(Exit::Unreachable, "no answer in time");
            let answer = tokio::time::timeout(within, call).await;
            let answer = answer.map_err(|_| late())?;
            answer.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?
        }))
    }

    /// Ends what is not ours any more. Of an outcome that is yet to be told the server says so itself.
    fn stand(&mut self, answer: &Value) {
        for beat in list(answer, "/beats") {
            if ["cancelled", "ended"].contains(&text(beat, "/state").as_str()) {
                self.running.remove(&text(beat, "/token"));
            }
        }
    }
}

/// About as long: workers that were turned away together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let percent = 75 + SystemRandom.below(51);
    pause * u32::try_from(percent).unwrap_or(100) / 100
}

/// Waits for a request that is under way. Losing the race with something else loses no answer.
async fn answered(call: &mut Option<Call>) -> Result<Value, Failure> {
    let Some(under_way) = call else {
        return std::future::pending().await;
    };
    let answer = under_way.await;
    *call = None;
    answer.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?
}
