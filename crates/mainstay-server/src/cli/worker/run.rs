//! `mainstay worker run`: a worker in any language. Each job is a run of a command: the payload on standard input, what else is
//! known in variables, the result on standard output, success or failure in the exit code.

use std::{collections::HashMap, process::Stdio, sync::Arc, time::Duration};

use clap::Args;
use serde_json::{Value, json, value::RawValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
};

use crate::{
    cli::{
        Context,
        api::{Api, list, text},
        failure::{Exit, Failure},
    },
    limits,
    time::{SystemRandom, random_hex},
};

/// The exit code that says that the job is wrong as it is: it is not tried again.
const EXIT_WRONG: i32 = 65;
/// The exit code that says that it cannot be done now: given back for a minute, which uses up no try.
const EXIT_LATER: i32 = 75;
const LATER_SECS: u64 = 60;
/// How long one request for jobs waits at the server.
const WAIT_SECS: u64 = 20;
/// How often one that ends with the last job looks for more.
const ONCE_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause while the server is away.
const PAUSE_MAX: Duration = Duration::from_secs(30);

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

/// What came of a command.
struct Done {
    token: String,
    /// None: it was ended, because the job is not ours any more.
    outcome: Option<Value>,
    line: String,
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

impl Worker<'_> {
    async fn work(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), Failure> {
        let third = Duration::from_secs(u64::from(self.args.lease_secs)) / 3;
        let mut beats = tokio::time::interval(third);
        let (mut ask_pause, mut tell_pause) = (Duration::ZERO, Duration::ZERO);
        let mut asking: Option<Call> = None;
        let mut telling: Option<Call> = None;
        let mut telling_count = 0;
        loop {
            let stopping = *stop.borrow();
            if stopping && let Some(asked) = asking.take() {
                // Whatever it would be answered goes back: nobody takes it.
                asked.abort();
            }
            if telling.is_none() && !self.untold.is_empty() {
                telling_count = self.untold.len().min(limits::OUTCOMES_MAX);
                telling = Some(self.tell(tell_pause, telling_count));
            }
            let free = self
                .args
                .concurrency
                .saturating_sub(self.commands.len() as u32);
            if asking.is_none() && !stopping && free > 0 {
                asking = Some(self.ask(ask_pause, free));
            }
            if stopping && self.commands.is_empty() && telling.is_none() {
                return Ok(());
            }
            tokio::select! {
                answer = answered(&mut asking), if asking.is_some() => match answer {
                    Ok(answer) => {
                        ask_pause = Duration::ZERO;
                        let none = self.begin(&answer) == 0;
                        if self.args.once && none && self.commands.is_empty() && telling.is_none() {
                            return Ok(());
                        }
                        if self.args.once && none {
                            // What runs may make more.
                            ask_pause = ONCE_PAUSE;
                        }
                    }
                    Err(failure) => ask_pause = self.away(failure, ask_pause)?,
                },
                answer = answered(&mut telling), if telling.is_some() => match answer {
                    Ok(_) => {
                        tell_pause = Duration::ZERO;
                        self.untold.drain(..telling_count);
                    }
                    Err(failure) => tell_pause = self.away(failure, tell_pause)?,
                },
                Some(done) = self.commands.join_next(), if !self.commands.is_empty() => {
                    let done = done.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
                    self.running.remove(&done.token);
                    self.untold.extend(done.outcome);
                    self.context.out.remark(&done.line);
                }
                _ = beats.tick(), if !self.running.is_empty() => self.beat().await,
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    self.context.out.remark("stopping: what runs is finished");
                }
            }
        }
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
            tokio::time::sleep(pause).await;
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

    /// Signs of life; what is not ours any more is ended.
    async fn beat(&mut self) {
        let beats: Vec<Value> = self
            .running
            .keys()
            .map(|token| json!({ "token": token }))
            .collect();
        let body = json!({ "worker": self.name, "beats": beats });
        let Ok(answer) = self.api.post("/v1/workers/heartbeat", &body).await else {
            // The server is away. It grants a lease more when it is back.
            return;
        };
        for beat in list(&answer, "/beats") {
            if ["cancelled", "ended"].contains(&text(beat, "/state").as_str()) {
                self.running.remove(&text(beat, "/token"));
            }
        }
    }
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

async fn carry_out(
    mut command: Command,
    payload: String,
    token: String,
    said: String,
    ended: oneshot::Receiver<()>,
) -> Done {
    let ran = match command.spawn() {
        Ok(child) => tokio::select! {
            ran = finish(child, payload) => Some(ran),
            _ = ended => None,
        },
        Err(error) => Some(Err(error)),
    };
    let (outcome, word) = match ran {
        None => (None, "ended: it is in other hands or cancelled".to_owned()),
        Some(Ok((code, out))) => judged(&token, code, &out),
        Some(Err(error)) => failed(&token, "command_broken", &error.to_string(), None),
    };
    Done {
        token,
        outcome,
        line: format!("{said}: {word}"),
    }
}

/// The exit code, or none where a signal ended it, and what it printed.
async fn finish(mut child: Child, payload: String) -> std::io::Result<(Option<i32>, Vec<u8>)> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command need not read what it is given.
            let _ = stdin.write_all(payload.as_bytes()).await;
        }
    };
    let read = async {
        let mut out = Vec::new();
        let Some(stdout) = stdout else { return Ok(out) };
        let most = limits::RESULT_BYTES_MAX as u64 + 1;
        let mut bounded = stdout.take(most);
        bounded.read_to_end(&mut out).await?;
        // What is beyond is no result; the command is not to wait for a reader.
        tokio::io::copy(&mut bounded.into_inner(), &mut tokio::io::sink()).await?;
        std::io::Result::Ok(out)
    };
    let ((), out) = tokio::join!(feed, read);
    let status = child.wait().await?;
    Ok((status.code(), out?))
}

fn judged(token: &str, code: Option<i32>, out: &[u8]) -> (Option<Value>, String) {
    match code {
        Some(0) => {
            let fits = out.len() <= limits::RESULT_BYTES_MAX;
            let result: Option<Box<RawValue>> =
                fits.then(|| serde_json::from_slice(out).ok()).flatten();
            let done = json!({ "token": token, "outcome": "completed", "result": result });
            (Some(done), "done".into())
        }
        Some(EXIT_LATER) => {
            let later = json!({ "token": token, "outcome": "snoozed", "delay_secs": LATER_SECS });
            (Some(later), format!("later, in {LATER_SECS} s"))
        }
        Some(EXIT_WRONG) => {
            let error = format!("the command ended with exit code {EXIT_WRONG}");
            failed(token, "exit_65", &error, Some(false))
        }
        Some(code) => {
            let error = format!("the command ended with exit code {code}");
            failed(token, &format!("exit_{code}"), &error, None)
        }
        None => failed(token, "killed", "a signal ended the command", None),
    }
}

fn failed(
    token: &str,
    code: &str,
    error: &str,
    retryable: Option<bool>,
) -> (Option<Value>, String) {
    let mut failure = json!({ "code": code, "message": error });
    if let Some(retryable) = retryable {
        failure["retryable"] = retryable.into();
    }
    let outcome = json!({ "token": token, "outcome": "failed", "failure": failure });
    (Some(outcome), format!("failed: {error}"))
}
