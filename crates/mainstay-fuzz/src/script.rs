//! An input, read as a row of choices.

/// Bytes that say what to do. Where they end, every choice is the first one, so that a short input is a whole one.
#[derive(Debug, Clone)]
pub struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    /// Reads these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    pub const fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.rest {
            [first, rest @ ..] => {
                self.rest = rest;
                *first
            }
            [] => 0,
        }
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Yes in one of so many cases.
    pub fn one_in(&mut self, cases: u8) -> bool {
        self.byte() % cases.max(1) == cases.max(1) - 1
    }

    /// A number below this; 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let drawn = match end {
            0..=256 => usize::from(self.byte()),
            _ => usize::from(u16::from_le_bytes(self.array())),
        };
        drawn.checked_rem(end).unwrap_or(0)
    }

    /// One of these, of which there must be some.
    pub fn pick<'p, T>(&mut self, from: &'p [T]) -> &'p T {
        &from[self.below(from.len())]
    }

    /// One of these words.
    pub fn word<'p>(&mut self, from: &[&'p str]) -> &'p str {
        from[self.below(from.len())]
    }

    /// So many bytes, filled up with zeros.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let count = N.min(self.rest.len());
        let (taken, rest) = self.rest.split_at(count);
        out[..count].copy_from_slice(taken);
        self.rest = rest;
        out
    }

    /// Any number: often one at which something ends.
    pub fn number(&mut self) -> i64 {
        const EDGES: [i64; 8] = [
            0,
            1,
            -1,
            i64::MIN,
            i64::MAX,
            1_000_000,
            1 << 32,
            253_402_300_800,
        ];
        match self.byte() {
            at @ 0..=7 => EDGES[usize::from(at)],
            8..=63 => i64::from(i16::from_le_bytes(self.array())),
            _ => i64::from_le_bytes(self.array()),
        }
    }

    /// Bytes as they stand there, at most so many.
    pub fn bytes(&mut self, max: usize) -> &'a [u8] {
        let count = self.below(max + 1).min(self.rest.len());
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Text; what is no UTF-8 is replaced.
    pub fn text(&mut self, bytes_max: usize) -> String {
        String::from_utf8_lossy(self.bytes(bytes_max)).into_owned()
    }

    /// Some of these pieces in any order, with noise in between.
    pub fn pieces(&mut self, pieces: &[&str], max: usize) -> String {
        let mut text = String::new();
        for _ in 0..self.below(max + 1) {
            match self.byte() {
                0..=31 => text.push_str(&self.text(12)),
                32..=47 => text.push(char::from(self.byte() & 0x7f)),
                at => text.push_str(pieces[usize::from(at) % pieces.len().max(1)]),
            }
        }
        text
    }

    /// JSON, or nearly JSON, with these names and words in it.
    pub fn json(&mut self, words: &[&str]) -> String {
        crate::json::document(self, words)
    }

    /// Changes something: a bit, a byte, a stretch.
    pub fn edit(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        match self.byte() % 6 {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << (self.byte() % 8),
            2 if at < bytes.len() => bytes[at] = self.byte(),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            _ => {
                let put = self.bytes(8).to_vec();
                bytes.splice(at..at, put);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_is_over_makes_the_first_choice() {
        let mut script = Script::new(&[]);
        assert!(script.is_over());
        assert_eq!((script.byte(), script.below(7), script.number()), (0, 0, 0));
        assert_eq!(script.pick(&["first", "second"]), &"first");
        assert!(script.bytes(9).is_empty() && script.text(9).is_empty());
        let mut bytes = b"left alone".to_vec();
        script.edit(&mut bytes);
        assert_eq!(bytes.len(), 10);
    }

    #[test]
    fn every_number_below_an_end_can_come_up() {
        let reached = |end: usize| {
            (0..=u16::MAX)
                .map(|input| Script::new(&input.to_le_bytes()).below(end))
                .max()
        };
        assert_eq!(reached(1), Some(0));
        assert_eq!(reached(256), Some(255));
        assert_eq!(reached(1_000), Some(999));
    }
}
