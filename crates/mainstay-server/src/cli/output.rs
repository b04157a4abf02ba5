//! Where a command's result goes: tables or JSON on standard output, remarks on standard error.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    sync::Mutex,
};

use serde_json::Value;

use super::{
    failure::Failure,
    table::{Fields, Table, Tone},
};

/// What is printed, and how.
pub(crate) struct Output {
    json: bool,
    width: Option<usize>,
    color: bool,
    out: Mutex<Box<dyn Write + Send>>,
}

impl Output {
    /// Standard output: cut to the terminal's width and coloured only where there is a terminal.
    pub(crate) fn stdout(json: bool) -> Self {
        let terminal = console::Term::stdout();
        let attended = io::stdout().is_terminal();
        Self {
            json,
            width: attended.then(|| usize::from(terminal.size().1)),
            color: attended && color_wanted(),
            out: Mutex::new(Box::new(io::BufWriter::new(io::stdout()))),
        }
    }

    /// Whether the command was asked for JSON.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints JSON, if it was asked for; answers whether it was.
    pub(crate) fn json(&self, value: &Value) -> Result<bool, Failure> {
        if self.json {
            self.text(&format!("{value:#}\n"))?;
        }
        Ok(self.json)
    }

    /// Prints a table; without rows, what there is none of.
    pub(crate) fn table(&self, table: &Table, none: &str) -> Result<(), Failure> {
        if table.is_empty() {
            return self.line(none);
        }
        self.text(&table.render(self.width, self.color))
    }

    pub(crate) fn fields(&self, fields: &Fields) -> Result<(), Failure> {
        self.text(&fields.render(self.color))
    }

    /// A title above what follows.
    pub(crate) fn title(&self, title: &str) -> Result<(), Failure> {
        self.text(&format!("\n{}\n", Tone::Bold.paint(title, self.color)))
    }

    pub(crate) fn line(&self, line: &str) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// A line in a tone.
    pub(crate) fn toned(&self, tone: Tone, line: &str) -> Result<(), Failure> {
        self.text(&format!("{}\n", tone.paint(line, self.color)))
    }

    /// The text in a tone, where there is colour.
    pub(crate) fn painted<'t>(&self, tone: Tone, text: &'t str) -> Cow<'t, str> {
        tone.paint(text, self.color)
    }

    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Bytes as they are: a payload, an export.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = self
            .out
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        out.write_all(bytes).map_err(Failure::output)
    }

    /// Hands on what is buffered.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        let mut out = self
            .out
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        out.flush().map_err(Failure::output)
    }

    /// A remark beside the result: on standard error, and not with `--json`.
    pub(crate) fn remark(&self, remark: &str) {
        if !self.json {
            stderr_line(remark);
        }
    }
}

/// `NO_COLOR` (no-color.org) and dumb terminals turn colour off.
fn color_wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A line on standard error. If nobody can read it, there is nobody to tell.
pub(crate) fn stderr_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether errors may be coloured.
pub(crate) fn stderr_color() -> bool {
    io::stderr().is_terminal() && color_wanted()
}
