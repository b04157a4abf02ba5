//! Why a command failed: what is printed, and the exit code that scripts see.

use std::io;

use mainstay_store::SetupError;
use serde_json::{Value, json};

use super::{
    output::{stderr_color, stderr_line},
    table::{Tone, clean},
};

/// Exit codes, stable: scripts depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It failed.
    Failed = 1,
    /// What was asked for cannot be: an unknown flag, a value out of bounds.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// Not signed in, or not allowed to.
    Refused = 4,
    /// The server cannot be reached or is not ready.
    Unreachable = 5,
    /// It ran, and what it checked is not in order.
    NotClean = 6,
    /// What is there is not what the file declares.
    Differs = 7,
}

impl Exit {
    /// All of them, with what they mean, for `docs/cli.md`.
    pub(crate) const ALL: [(Self, &'static str); 7] = [
        (Self::Failed, "it failed"),
        (
            Self::Usage,
            "what was asked for cannot be: an unknown flag, a value out of bounds",
        ),
        (Self::NotFound, "what was asked for does not exist"),
        (Self::Refused, "not signed in, or not allowed to"),
        (
            Self::Unreachable,
            "the server cannot be reached or is not ready",
        ),
        (
            Self::NotClean,
            "it ran, and what it checked is not in order (`verify`, `bench`, `simulate`, `listen`, `migrate check`)",
        ),
        (
            Self::Differs,
            "what is there is not what the file declares (`diff`)",
        ),
    ];
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure(Box<Reason>);

#[derive(Debug)]
struct Reason {
    exit: Exit,
    /// What went wrong, in a few words.
    title: String,
    /// What exactly.
    detail: Option<String>,
    /// The stable code, listed in `docs/errors.md`.
    code: Option<String>,
    /// Which fields are wrong.
    errors: Vec<(String, String)>,
    /// What to do.
    hint: Option<String>,
    /// Nothing is to be said: this is the exit code.
    quiet: Option<u8>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, title: impl Into<String>) -> Self {
        Self(Box::new(Reason {
            exit,
            title: title.into(),
            detail: None,
            code: None,
            errors: Vec::new(),
            hint: None,
            quiet: None,
        }))
    }

    fn quiet(mut self, code: Option<u8>) -> Self {
        self.0.quiet = code;
        self
    }

    /// The output has said it all; what remains is the exit code.
    pub(crate) fn said(exit: Exit) -> Self {
        Self::new(exit, "").quiet(Some(exit as u8))
    }

    /// An answer that broke off.
    pub(crate) fn broken(error: &reqwest::Error) -> Self {
        Self::new(Exit::Unreachable, "the answer broke off").detail(error.to_string())
    }

    pub(crate) fn is_unreachable(&self) -> bool {
        self.0.exit == Exit::Unreachable
    }

    /// Whether asking again would change nothing.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self.0.exit,
            Exit::Usage | Exit::NotFound | Exit::Refused | Exit::NotClean
        )
    }

    /// Whether it is one of these codes of the API.
    pub(crate) fn is_code(&self, codes: &[&str]) -> bool {
        self.0
            .code
            .as_deref()
            .is_some_and(|own| codes.contains(&own))
    }

    /// Whether what was asked for is not possible in this state.
    pub(crate) fn is_conflict(&self) -> bool {
        self.0.code.as_deref() == Some("state_conflict")
    }

    pub(crate) fn usage(title: impl Into<String>) -> Self {
        Self::new(Exit::Usage, title)
    }

    /// Nothing of this kind and name.
    pub(crate) fn not_found(kind: &str, name: &str) -> Self {
        Self::new(Exit::NotFound, format!("there is no {kind} '{name}'"))
            .hint(format!("`mainstay {kind} list` shows what there is"))
    }

    /// What went wrong, in a sentence.
    pub(crate) fn told(&self) -> String {
        match &self.0.detail {
            Some(detail) => format!("{}: {detail}", self.0.title),
            None => self.0.title.clone(),
        }
    }

    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// These places of a file are wrong.
    #[must_use]
    pub(crate) fn places(mut self, places: Vec<(String, String)>) -> Self {
        self.0.errors = places;
        self
    }

    /// The same, with the fields that are wrong called something else: an answer knows the request and not the file that
    /// it was made of.
    #[must_use]
    pub(crate) fn renamed(mut self, name: impl Fn(&str) -> String) -> Self {
        if !self.0.errors.is_empty() {
            // It says the same, with the names that it had.
            self.0.detail = None;
        }
        for (pointer, _) in &mut self.0.errors {
            *pointer = name(pointer);
        }
        self
    }

    /// Standard output is gone. A reader that has seen enough (`| head`) is no failure.
    pub(crate) fn output(error: io::Error) -> Self {
        let quiet = (error.kind() == io::ErrorKind::BrokenPipe).then_some(0);
        Self::new(Exit::Failed, "cannot write the output")
            .detail(error.to_string())
            .quiet(quiet)
    }

    /// A file that the command was pointed at.
    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Self::new(exit, format!("cannot read {}", path.display())).detail(error.to_string())
    }

    /// What the API answered: a problem (RFC 9457), or something that stands between us and the API.
    pub(crate) fn problem(status: u16, body: &[u8]) -> Self {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |field: &str| problem.get(field)?.as_str().map(str::to_owned);
        let exit = match status {
            401 | 403 => Exit::Refused,
            404 | 410 => Exit::NotFound,
            400 | 405 | 406 | 413 | 414 | 415 | 422 => Exit::Usage,
            502..=504 => Exit::Unreachable,
            _ => Exit::Failed,
        };
        let code = text("code");
        let hint = code.as_deref().and_then(hint_for).or_else(|| {
            problem.is_null().then(|| {
                format!(
                    "the answer was {status} and not Mainstay's; does MAINSTAY_URL point at it?"
                )
            })
        });
        let errors = problem.get("errors").and_then(Value::as_array);
        Self(Box::new(Reason {
            exit,
            title: text("title").unwrap_or_else(|| format!("the server answered {status}")),
            detail: text("detail"),
            errors: errors
                .into_iter()
                .flatten()
                .filter_map(field_error)
                .collect(),
            hint,
            code,
            quiet: None,
        }))
    }

    /// The exit code, after saying why. With `--json` as a problem, on standard error too.
    pub(crate) fn report(&self, as_json: bool) -> u8 {
        if let Some(code) = self.0.quiet {
            return code;
        }
        if as_json {
            stderr_line(&self.0.json().to_string());
        } else {
            self.0.print();
        }
        self.0.exit as u8
    }
}

impl Reason {
    fn json(&self) -> Value {
        let errors: Vec<_> = self
            .errors
            .iter()
            .map(|(pointer, detail)| json!({ "pointer": pointer, "detail": detail }))
            .collect();
        json!({
            "title": self.title, "detail": self.detail, "code": self.code,
            "errors": errors, "hint": self.hint, "exit": self.exit as u8,
        })
    }

    fn print(&self) {
        let color = stderr_color();
        let code = match &self.code {
            Some(code) => format!(" ({})", clean(code)),
            None => String::new(),
        };
        let error = Tone::Bad.paint("error:", color);
        stderr_line(&format!("{error} {}{code}", clean(&self.title)));
        // The API's detail of a request that is not valid is its first error once more.
        let detail = self.detail.as_deref().filter(|_| self.errors.is_empty());
        if let Some(detail) = detail.filter(|detail| *detail != self.title) {
            stderr_line(&format!("  {}", clean(detail)));
        }
        for (pointer, detail) in &self.errors {
            stderr_line(&format!("  {}: {}", clean(pointer), clean(detail)));
        }
        if let Some(hint) = &self.hint {
            let word = Tone::Bold.paint("hint:", color);
            stderr_line(&format!("{word} {}", clean(hint)));
        }
    }
}

fn field_error(error: &Value) -> Option<(String, String)> {
    let text = |field: &str| error.get(field)?.as_str().map(str::to_owned);
    Some((text("pointer").unwrap_or_default(), text("detail")?))
}

/// What helps, for the codes that a person at a terminal meets.
fn hint_for(code: &str) -> Option<String> {
    let hint = match code {
        "unauthenticated" => {
            "give a key with --api-key or MAINSTAY_API_KEY, or point --data at the server's data directory"
        }
        "role_forbidden" => {
            "this needs a key with the role owner: `mainstay key create NAME --role owner`"
        }
        "tenant_forbidden" => "the key is bound to a tenant; use that tenant, or a key without one",
        "still_referenced" => {
            "delete what refers to it first: `mainstay binding list` shows the bindings"
        }
        "store_unavailable" => "nothing was done; `mainstay doctor` looks at the database",
        "idempotency_in_progress" => "the same request is being carried out; try again in a moment",
        _ => return None,
    };
    Some(hint.to_owned())
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        let (exit, hint) = match &error {
            SetupError::Locked { .. } => (Exit::Refused, "the server is running; stop it first"),
            SetupError::Exists(_) => (Exit::Refused, "name another file, or move that one away"),
            SetupError::NotEmpty(_) => (Exit::Refused, "--force replaces what is there"),
            SetupError::Url(_) => (Exit::Usage, "postgres://user:password@host:5432/database"),
            SetupError::Store(_) => (Exit::Failed, "`mainstay doctor` looks at the database"),
            _ => return Self::new(Exit::Failed, error.to_string()),
        };
        Self::new(exit, error.to_string()).hint(hint)
    }
}

impl From<mainstay_domain::StoreError> for Failure {
    fn from(error: mainstay_domain::StoreError) -> Self {
        Self::from(SetupError::from(error))
    }
}
