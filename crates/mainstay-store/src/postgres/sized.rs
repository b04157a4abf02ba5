//! Statements with their limit in the text.
//!
//! A limit that is a parameter makes a cached plan assume a tenth of all rows, and choose a sort of them over the index
//! that would have stopped after a few (measured: 1.9 ms became 192 ms). So each statement exists in a few sizes. The largest is
//! what one look for new jobs asks for.

/// The same statement with several limits.
pub(crate) struct Sized(pub(crate) [(i64, &'static str); 4]);

impl Sized {
    /// The text with the smallest limit that is enough, and how many rows to take of its answer.
    pub(crate) fn of(&self, limit: i64) -> (&'static str, usize) {
        let [.., last] = self.0;
        let (most, text) = *self
            .0
            .iter()
            .find(|(size, _)| *size >= limit)
            .unwrap_or(&last);
        (text, usize::try_from(limit.clamp(0, most)).unwrap_or(0))
    }
}

/// The parts of a text, with a limit between each two of them.
macro_rules! sized {
    ($first:expr $(, $rest:expr)+ $(,)?) => {
        $crate::postgres::sized::Sized([
            (64, concat!($first $(, "64", $rest)+)),
            (512, concat!($first $(, "512", $rest)+)),
            (2_048, concat!($first $(, "2048", $rest)+)),
            (5_000, concat!($first $(, "5000", $rest)+)),
        ])
    };
}
pub(crate) use sized;
