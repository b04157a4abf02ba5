//! The names of a spool's files: a number that grows, a salt that its checksums begin with, and what it holds.

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Records that are to be stored.
    Spool,
    /// Records that cannot be stored as things are. Called `.spool`, it is drained at the next start.
    Aside,
    /// A segment that was damaged; what could be read of it was drained.
    Damaged,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Spool, Self::Aside, Self::Damaged];

    const fn ending(self) -> &'static str {
        match self {
            Self::Spool => "spool",
            Self::Aside => "aside",
            Self::Damaged => "damaged",
        }
    }
}

/// Which file. They sort by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) number: u64,
    pub(super) salt: u64,
}

impl Name {
    /// The file's name.
    pub(super) fn file(self, kind: Kind) -> String {
        format!("{:016x}-{:016x}.{}", self.number, self.salt, kind.ending())
    }

    /// What a file's name says; `None`: it is none of ours.
    pub(super) fn parse(file: &str) -> Option<(Self, Kind)> {
        let (stem, ending) = file.split_once('.')?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.ending() == ending)?;
        let (number, salt) = stem.split_once('-')?;
        // As it is written and in no other way: a file is opened by the name that is made of what was read here.
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let hex = |text: &str| match text.len() == 16 && text.bytes().all(digit) {
            true => u64::from_str_radix(text, 16).ok(),
            false => None,
        };
        let name = Self {
            number: hex(number)?,
            salt: hex(salt)?,
        };
        Some((name, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written() {
        let name = Name {
            number: 7,
            salt: u64::MAX,
        };
        for kind in Kind::ALL {
            assert_eq!(Name::parse(&name.file(kind)), Some((name, kind)));
        }
        for other in [
            "spool.lock",
            "1-2.spool",
            "x.spool",
            "",
            "a-b",
            "+000000000000007-ffffffffffffffff.spool",
            "0000000000000007-FFFFFFFFFFFFFFFF.spool",
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
