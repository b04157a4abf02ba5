//! The command of a job: what it is given, and what its end says of the job.

use serde_json::{Value, json, value::RawValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::oneshot,
};

use crate::limits;

/// The exit code that says that the job is wrong as it is: it is not tried again.
const EXIT_WRONG: i32 = 65;
/// The exit code that says that it cannot be done now: given back for a minute, which uses up no try.
const EXIT_LATER: i32 = 75;
const LATER_SECS: u64 = 60;

/// What came of a command.
pub(super) struct Done {
    pub(super) token: String,
    /// None: it was ended, because the job is not ours any more.
    pub(super) outcome: Option<Value>,
    /// For whoever looks on.
    pub(super) line: String,
}

/// Runs it to its end, or until `ended` is told or dropped.
pub(super) async fn carry_out(
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
        // How far it had come nobody knows.
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
