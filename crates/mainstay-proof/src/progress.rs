//! The live line: rewritten in place on a terminal, a line every few seconds elsewhere.

use std::{
    io::{IsTerminal, Write, stdout},
    time::{Duration, Instant},
};

/// How often a line is printed where it cannot be rewritten.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// The line.
#[derive(Debug)]
pub struct Line {
    terminal: bool,
    printed: Option<Instant>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            terminal: stdout().is_terminal(),
            printed: None,
        }
    }
}

impl Line {
    /// Shows this text as the line.
    pub fn show(&mut self, text: &str) {
        let due = self.printed.is_none_or(|at| at.elapsed() >= PLAIN_EVERY);
        let mut out = stdout().lock();
        // Nobody is left to tell when standard output is closed.
        let _ = if self.terminal {
            write!(out, "\r\x1b[2K{text}")
        } else if due {
            self.printed = Some(Instant::now());
            writeln!(out, "{text}")
        } else {
            Ok(())
        };
        let _ = out.flush();
    }

    /// Prints a line of its own, above the live one.
    pub fn say(&mut self, text: &str) {
        let mut out = stdout().lock();
        let start = if self.terminal { "\r\x1b[2K" } else { "" };
        let _ = writeln!(out, "{start}{text}");
        let _ = out.flush();
    }
}

/// `[######------]`.
pub fn bar(done: u64, of: u64) -> String {
    const WIDTH: u64 = 24;
    let filled = (done * WIDTH).checked_div(of).unwrap_or(0).min(WIDTH);
    format!(
        "[{}{}]",
        "#".repeat(filled as usize),
        "-".repeat((WIDTH - filled) as usize)
    )
}

/// A number with separators: 12,345.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(123), "123");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
