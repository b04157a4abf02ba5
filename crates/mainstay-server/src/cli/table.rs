//! Columns for people: aligned, cut to the terminal's width, and safe to print.
//!
//! What is printed comes from the outside: an event's type or an endpoint's error can hold escape
//! sequences that would rewrite the screen. Cells are cleaned before they are measured.

use std::borrow::Cow;

use console::{measure_text_width, truncate_str};

/// A column is never cut below this.
const WIDTH_MIN: usize = 8;
/// What stands between two columns.
const GAP: &str = "  ";

/// How a cell looks where there is colour. It says nothing that the text does not say too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
    Bold,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Dim => "\x1b[2m",
            Self::Bold => "\x1b[1m",
        }
    }

    /// The text in this tone, if there is colour.
    pub(crate) fn paint(self, text: &str, color: bool) -> Cow<'_, str> {
        if color && self != Self::Plain {
            Cow::Owned(format!("{}{text}\x1b[0m", self.code()))
        } else {
            Cow::Borrowed(text)
        }
    }
}

/// One cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: clean(&text.into()),
            tone: Tone::Plain,
        }
    }

    #[must_use]
    pub(crate) const fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// The state of something, in the tone that it deserves.
    pub(crate) fn state(text: impl Into<String>) -> Self {
        let cell = Self::new(text);
        let tone = match cell.text.as_str() {
            "done" | "success" | "succeeded" | "closed" | "ok" | "accepted" | "yes" | "passed" => {
                Tone::Good
            }
            "retrying" | "half_open" | "warn" | "pending" | "processing" | "running" => Tone::Warn,
            "dead" | "error" | "failed" | "open" | "fail" | "refused" | "conflict" | "lost" => {
                Tone::Bad
            }
            "cancelled" | "discarded" | "no" | "skipped" | "unhandled" => Tone::Dim,
            _ => Tone::Plain,
        };
        cell.tone(tone)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// Where a column's cells stand, and whether they may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Text that may be cut where the terminal is narrow.
    Text(&'static str),
    /// What a person copies, such as an id: never cut.
    Whole(&'static str),
    /// A number: on the right, never cut.
    Number(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Whole,
    Number,
}

/// Rows under titles.
#[derive(Debug)]
pub(crate) struct Table {
    kinds: Vec<Kind>,
    titles: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        let parts = columns.iter().map(|column| match *column {
            Column::Text(title) => (Kind::Text, title),
            Column::Whole(title) => (Kind::Whole, title),
            Column::Number(title) => (Kind::Number, title),
        });
        let (kinds, titles): (Vec<Kind>, Vec<&str>) = parts.unzip();
        Self {
            kinds,
            titles: titles.into_iter().map(title).collect(),
            rows: Vec::new(),
        }
    }

    /// Columns of text whose titles are known only now.
    pub(crate) fn titled(titles: impl Iterator<Item = String>) -> Self {
        let titles: Vec<Cell> = titles.map(title).collect();
        Self {
            kinds: vec![Kind::Text; titles.len()],
            titles,
            rows: Vec::new(),
        }
    }

    /// Adds a row; one cell for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.row_of(cells.into());
    }

    /// The same, for a number of cells that is known only now.
    pub(crate) fn row_of(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.titles.len(), "one cell for each column");
        self.rows.push(cells);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines. `width` is the terminal's; without one nothing is cut.
    pub(crate) fn render(&self, width: Option<usize>, color: bool) -> String {
        let widths = self.widths(width);
        let mut lines = String::new();
        self.line(&mut lines, &self.titles, &widths, color);
        for row in &self.rows {
            self.line(&mut lines, row, &widths, color);
        }
        lines
    }

    fn line(&self, lines: &mut String, row: &[Cell], widths: &[usize], color: bool) {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
            if index > 0 {
                line.push_str(GAP);
            }
            let text = truncate_str(&cell.text, *width, "…");
            let padding = " ".repeat(width - measure_text_width(&text).min(*width));
            let painted = cell.tone.paint(&text, color);
            if self.kinds.get(index) == Some(&Kind::Number) {
                line.push_str(&padding);
                line.push_str(&painted);
            } else {
                line.push_str(&painted);
                line.push_str(&padding);
            }
        }
        lines.push_str(line.trim_end());
        lines.push('\n');
    }

    /// Each column as wide as its widest cell; then the widest that may be cut is cut until all fit.
    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.titles.len())
            .map(|index| {
                let rows = self.rows.iter().chain([&self.titles]);
                let cells = rows.filter_map(|row| row.get(index));
                cells
                    .map(|cell| measure_text_width(&cell.text))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let Some(limit) = width else {
            return widths;
        };
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > limit {
            let cuttable = (0..widths.len())
                .filter(|index| self.kinds[*index] == Kind::Text)
                .filter(|index| widths[*index] > WIDTH_MIN);
            let Some(widest) = cuttable.max_by_key(|index| widths[*index]) else {
                break;
            };
            widths[widest] -= 1;
        }
        widths
    }
}

fn title(text: impl Into<String>) -> Cell {
    Cell::new(text).tone(Tone::Dim)
}

/// Names and values below each other: what `show` prints.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(&'static str, Cell)>);

impl Fields {
    pub(crate) fn add(&mut self, name: &'static str, value: impl Into<Cell>) -> &mut Self {
        let value = value.into();
        if !value.text.is_empty() {
            self.0.push((name, value));
        }
        self
    }

    pub(crate) fn render(&self, color: bool) -> String {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut lines = String::new();
        for (name, value) in &self.0 {
            let padding = " ".repeat(width - name.len());
            lines.push_str(&Tone::Dim.paint(name, color));
            lines.push_str(&padding);
            lines.push_str(GAP);
            lines.push_str(&value.tone.paint(&value.text, color));
            lines.push('\n');
        }
        lines
    }
}

/// The text without anything that a terminal would act on: one line, no escape sequences, no characters
/// that turn the direction of writing around.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\t' | '\n' | '\r' => ' ',
            character if character.is_control() => '\u{fffd}',
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            character => character,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            Column::Whole("ID"),
            Column::Text("TYPE"),
            Column::Number("JOBS"),
            Column::Text("ERROR"),
        ]);
        table.row([
            "evt_1".into(),
            "invoice.paid".into(),
            "12".into(),
            "".into(),
        ]);
        table.row([
            "evt_22".into(),
            "ü".into(),
            "3".into(),
            "the endpoint answered 500".into(),
        ]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        assert_eq!(
            table().render(None, false),
            "ID      TYPE          JOBS  ERROR\n\
             evt_1   invoice.paid    12\n\
             evt_22  ü                3  the endpoint answered 500\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_text_and_never_ids_or_numbers() {
        assert_eq!(
            table().render(Some(40), false),
            "ID      TYPE          JOBS  ERROR\n\
             evt_1   invoice.paid    12\n\
             evt_22  ü                3  the endpoin…\n"
        );
        let narrowest = table().render(Some(1), false);
        assert!(
            narrowest.contains("evt_22  ü            3  the end…\n"),
            "{narrowest}"
        );
    }

    #[test]
    fn wide_characters_count_for_two() {
        let mut table = Table::new(&[Column::Text("NAME"), Column::Text("STATE")]);
        table.row(["事件".into(), "done".into()]);
        table.row(["abc".into(), "dead".into()]);
        assert_eq!(
            table.render(None, false),
            "NAME  STATE\n事件  done\nabc   dead\n"
        );
    }

    #[test]
    fn colour_does_not_change_where_things_stand() {
        let mut table = Table::new(&[Column::Text("STATE"), Column::Text("NAME")]);
        table.row([Cell::state("dead"), "x".into()]);
        let painted = table.render(Some(80), true);
        assert!(painted.contains("\x1b[31mdead\x1b[0m   x\n"), "{painted:?}");
        let plain = console::strip_ansi_codes(&painted).into_owned();
        assert_eq!(plain, table.render(Some(80), false));
    }

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_an_order() {
        let cell = Cell::new("a\x1b[2Jb\x07c\u{202e}d\r\ne\u{9b}");
        assert_eq!(cell.text, "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d  e\u{fffd}");
    }

    #[test]
    fn fields_without_a_value_are_left_out() {
        let mut fields = Fields::default();
        fields
            .add("id", "evt_1")
            .add("note", "")
            .add("status", Cell::state("success"));
        assert_eq!(fields.render(false), "id      evt_1\nstatus  success\n");
    }
}
