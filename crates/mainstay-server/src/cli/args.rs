//! Arguments that several commands share: secrets, times, lists, selections.

use std::{
    fmt, fs,
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::failure::{Exit, Failure};

/// The largest file that is read as a body or a secret.
const INPUT_BYTES_MAX: u64 = 16 * 1_024 * 1_024;

/// A secret: itself, `@FILE`, or `-` for standard input. The last two leave no trace in the shell's
/// history or the list of processes.
#[derive(Clone)]
pub(crate) struct SecretArg(String);

impl fmt::Debug for SecretArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretArg(…)")
    }
}

impl FromStr for SecretArg {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl SecretArg {
    /// The secret; of a file or of standard input the text without the line's end.
    pub(crate) fn read(&self) -> Result<String, Failure> {
        let bytes = match self.0.strip_prefix('@') {
            Some(file) => input_read(Path::new(file))?,
            None if self.0 == "-" => input_read(Path::new("-"))?,
            None => return Ok(self.0.clone()),
        };
        let text =
            String::from_utf8(bytes).map_err(|_| Failure::usage("the secret is not text"))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// The bytes of a file, or of standard input for `-`; bounded.
pub(crate) fn input_read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .take(INPUT_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::file(path, &error))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(Failure::usage(format!(
            "{} is larger than 16 MiB",
            path.display()
        )));
    }
    Ok(bytes)
}

/// JSON: itself, `@FILE`, or `-` for standard input.
#[derive(Debug, Clone)]
pub(crate) struct JsonArg(String);

impl FromStr for JsonArg {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl JsonArg {
    pub(crate) fn read(&self) -> Result<Value, Failure> {
        let bytes = match self.0.strip_prefix('@') {
            Some(file) => input_read(Path::new(file))?,
            None if self.0 == "-" => input_read(Path::new("-"))?,
            None => self.0.clone().into_bytes(),
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::usage("this is not JSON").detail(error.to_string()))
    }
}

/// A time: `2026-11-21T10:00:00Z`, or how long ago: `90s`, `15m`, `2h`, `7d`.
#[derive(Debug, Clone)]
pub(crate) struct TimeArg(String);

impl FromStr for TimeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(at.to_string()));
        }
        let ago = ago_secs(text)
            .ok_or("a time is 2026-11-21T10:00:00Z, or how long ago: 90s, 15m, 2h, 7d")?;
        let at = now().saturating_sub(jiff::SignedDuration::from_secs(ago));
        at.map(|at| Self(at.to_string()))
            .map_err(|error| error.to_string())
    }
}

impl TimeArg {
    /// As the API reads it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn secs(&self) -> i64 {
        self.0
            .parse::<jiff::Timestamp>()
            .map_or(0, jiff::Timestamp::as_second)
    }
}

/// A time to come: `2026-11-21T10:00:00Z`, or how long from now: `90s`, `15m`, `2h`, `7d`.
#[derive(Debug, Clone)]
pub(crate) struct LaterArg(String);

impl FromStr for LaterArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(at.to_string()));
        }
        let secs = ago_secs(text)
            .ok_or("a time is 2026-11-21T10:00:00Z, or how long from now: 90s, 15m, 2h, 7d")?;
        let at = now().saturating_add(jiff::SignedDuration::from_secs(secs));
        at.map(|at| Self(at.to_string()))
            .map_err(|error| error.to_string())
    }
}

impl LaterArg {
    /// As the API reads it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn ago_secs(text: &str) -> Option<i64> {
    let split = text.len().checked_sub(1)?;
    let (number, unit) = text.split_at_checked(split)?;
    let secs = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let number = number.parse::<u32>().ok()?;
    i64::from(number).checked_mul(secs)
}

/// The time on the clock of whoever types.
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A time of the API's for people: to the second, in UTC.
pub(crate) fn time_short(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => text.to_owned(),
    }
}

/// A header as 'Name: value'; the name comes back in lower case.
pub(crate) fn header_parse(text: &str) -> Result<(String, String), Failure> {
    let token = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty() && name.bytes().all(allowed)
    };
    match text.split_once(':') {
        Some((name, value)) if token(name) => {
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        }
        _ => Err(Failure::usage(format!(
            "'{text}' is not a header such as 'Name: value'"
        ))),
    }
}

/// How much of a list to show.
#[derive(Debug, Clone, Args)]
pub(crate) struct PageArgs {
    /// How many at most
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) limit: usize,
    /// Go on where an earlier list ended
    #[arg(long)]
    pub(crate) cursor: Option<String>,
}

/// A role.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// Everything, also who else may do what
    Owner,
    /// Sets up sources, endpoints, bindings, schemas, secrets and links
    Admin,
    /// Runs again, cancels, discards, pauses, replays, acknowledges
    Operator,
    /// Reads
    Viewer,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }
}

/// Whether to ask before something that cannot be taken back.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Consent {
    /// Do not ask
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
}

impl Consent {
    /// Asks; refuses where nobody can be asked.
    pub(crate) fn ask(self, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(
                Exit::Refused,
                "this needs a yes, and there is nobody to ask",
            )
            .detail(question)
            .hint("--yes goes ahead without asking"));
        }
        let terminal = console::Term::stderr();
        let asked = terminal
            .write_str(&format!("{question} [y/N] "))
            .and_then(|()| terminal.read_line());
        let answer = asked.map_err(Failure::output)?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Refused, "nothing was done")),
        }
    }
}

/// The fields of a request: what was given and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    /// Sets the field, if there is a value.
    pub(crate) fn set(&mut self, field: &str, value: Option<impl Into<Value>>) -> &mut Self {
        if let Some(value) = value {
            self.0.insert(field.to_owned(), value.into());
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn value(self) -> Value {
        Value::Object(self.0)
    }

    /// The object, if anything was given.
    pub(crate) fn some(self) -> Option<Value> {
        (!self.is_empty()).then(|| self.value())
    }
}

/// A file to write to; nothing that exists is overwritten.
#[derive(Debug, Clone, Args)]
pub(crate) struct TargetArgs {
    /// Write to this file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_how_long_ago() {
        let at: TimeArg = "2026-11-21T10:00:00Z".parse().expect("a time");
        assert_eq!(at.as_str(), "2026-11-21T10:00:00Z");
        let later: LaterArg = "2h".parse().expect("a time");
        assert!(later.as_str() > now().to_string().as_str());
        let ago: TimeArg = "2h".parse().expect("a time");
        let secs = now().as_second() - ago.secs();
        assert!((7_199..=7_201).contains(&secs), "{secs}");
        for wrong in ["", "h", "yesterday", "-2h", "2w", "2026-13-01", "ü"] {
            assert!(wrong.parse::<TimeArg>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_in_a_file_is_read_without_its_line_end_and_never_shown() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("secret");
        fs::write(&file, "whsec_abc \n").expect("a file");
        let secret: SecretArg = format!("@{}", file.display()).parse().expect("infallible");
        assert_eq!(secret.read().expect("a secret"), "whsec_abc ");
        let literal: SecretArg = "whsec_abc".parse().expect("infallible");
        assert!(!format!("{literal:?}").contains("whsec"));
    }
}
