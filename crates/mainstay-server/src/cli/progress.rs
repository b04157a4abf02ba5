//! Progress of long work: on standard error, on a terminal, and never with `--json`.

use std::{io::IsTerminal, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use mainstay_store::backup::OnProgress;

use super::output::Output;

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// Work of unknown length.
pub(crate) struct Spinner(ProgressBar);

impl Spinner {
    pub(crate) fn start(out: &Output, what: &'static str) -> Self {
        let bar = if wanted(out) {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.set_message(what);
        bar.enable_steady_tick(TURN);
        Self(bar)
    }

    pub(crate) fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Bytes or rows that are copied.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Of bytes.
    pub(crate) fn start(out: &Output, what: &'static str) -> Self {
        let style = "{msg} [{bar:32}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        Self::styled(out, what, style)
    }

    /// Of rows, each of which is copied and then verified.
    pub(crate) fn rows(out: &Output, what: &'static str) -> Self {
        let style = "{msg} [{bar:32}] {percent} %, {per_sec}, {eta} left";
        Self::styled(out, what, style)
    }

    fn styled(out: &Output, what: &'static str, style: &str) -> Self {
        let bar = if wanted(out) {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what);
        Self(bar)
    }

    /// Says something else meanwhile.
    pub(crate) fn aside(&self, say: impl FnOnce()) {
        self.0.suspend(say);
    }

    /// What the store reports to.
    pub(crate) fn listener(&self) -> OnProgress {
        let bar = self.0.clone();
        Arc::new(move |progress| {
            if let Some(total) = progress.total {
                bar.set_length(total);
            }
            bar.set_position(progress.done);
        })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Whether somebody watches.
pub(crate) fn wanted(out: &Output) -> bool {
    !out.is_json() && std::io::stderr().is_terminal()
}
