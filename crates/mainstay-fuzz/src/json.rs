//! JSON by script: every kind of value, names that stand twice, escapes, depth, numbers that fit nowhere, and mistakes.

use crate::Script;

/// Values of one document.
const VALUES_MAX: usize = 60;
/// How deep a document is built, beside the tower that stands for all depths beyond.
const DEPTH_MAX: usize = 10;

const NUMBERS: [&str; 14] = [
    "0",
    "-0",
    "1",
    "-1",
    "17",
    "1.5",
    "1e2",
    "1E-7",
    "1e999",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "-9223372036854775809",
    "1700000000",
];
const STRINGS: [&str; 12] = [
    "",
    "x",
    "\\u0061",
    "\\u0000",
    "\\ud800",
    "\\ud83d\\ude00",
    "é😀",
    "2024-02-29T23:59:60.5Z",
    "2023-11-14T22:13:20+01:00",
    "\\n",
    "a/b~c",
    "0",
];
const SPACES: [&str; 4] = [" ", "\n", "\t ", "\u{feff}"];

/// A document.
pub(crate) fn document(script: &mut Script, words: &[&str]) -> String {
    let mut writer = Writer {
        out: String::new(),
        left: VALUES_MAX,
        words,
    };
    writer.value(script, 0);
    if script.one_in(16) {
        // Where a mistake stands, at the end or in the middle.
        let mut bytes = writer.out.into_bytes();
        script.edit(&mut bytes);
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    writer.out
}

struct Writer<'w> {
    out: String,
    left: usize,
    words: &'w [&'w str],
}

impl Writer<'_> {
    fn value(&mut self, script: &mut Script, depth: usize) {
        self.left = self.left.saturating_sub(1);
        let nested = depth < DEPTH_MAX && self.left > 0;
        match script.byte() {
            // The whole of a document is an object as a rule.
            0..=79 if nested => self.object(script, depth),
            at if nested && depth == 0 && at < 200 => self.object(script, depth),
            80..=119 if nested => self.list(script, depth),
            120..=123 => self.tower(script),
            124..=127 => self.out.push_str(script.word(&SPACES)),
            128..=159 => self.out.push_str(script.word(&NUMBERS)),
            160..=175 => self.out.push_str(script.word(&["null", "true", "false"])),
            _ => self.string(script),
        }
    }

    fn object(&mut self, script: &mut Script, depth: usize) {
        self.out.push('{');
        for at in 0..script.below(7) {
            if at > 0 {
                self.out.push(',');
            }
            self.string(script);
            self.out.push(':');
            self.value(script, depth + 1);
        }
        self.out.push('}');
    }

    fn list(&mut self, script: &mut Script, depth: usize) {
        self.out.push('[');
        for at in 0..script.below(5) {
            if at > 0 {
                self.out.push(',');
            }
            self.value(script, depth + 1);
        }
        self.out.push(']');
    }

    /// Deeper than any reader that descends would like.
    fn tower(&mut self, script: &mut Script) {
        let depth = 1 + script.below(400);
        let (open, close) = if script.flag() {
            ("[", "]")
        } else {
            ("{\"a\":", "}")
        };
        self.out.push_str(&open.repeat(depth));
        self.out.push('1');
        self.out.push_str(&close.repeat(depth));
    }

    fn string(&mut self, script: &mut Script) {
        self.out.push('"');
        match script.byte() {
            0..=159 if !self.words.is_empty() => self.out.push_str(script.word(self.words)),
            160..=175 if !self.words.is_empty() => self.escaped(script),
            176..=191 => {
                let text = script.text(16);
                self.out.extend(
                    text.chars()
                        .filter(|c| !matches!(c, '"' | '\\') && !c.is_control()),
                );
            }
            _ => self.out.push_str(script.word(&STRINGS)),
        }
        self.out.push('"');
    }

    /// A word whose first letter is written as an escape: the same text, other bytes.
    fn escaped(&mut self, script: &mut Script) {
        let word = script.word(self.words);
        let mut letters = word.chars();
        if let Some(first) = letters.next().filter(char::is_ascii_alphanumeric) {
            let number = format!("{:04x}", u32::from(first));
            self.out.push_str("\\u");
            self.out.push_str(&number);
            self.out.push_str(letters.as_str());
        }
    }
}
