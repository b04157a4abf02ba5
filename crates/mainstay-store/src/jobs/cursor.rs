//! Positions in the order of commits, and how they are written down.

use mainstay_domain::jobs::Cursor;
use uuid::Uuid;

/// On SQLite one writer commits in the order of the rows' numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SqliteCursor {
    /// The last job that was seen.
    pub(crate) job: i64,
    /// The last signal that was seen.
    pub(crate) signal: i64,
}

impl SqliteCursor {
    /// `None` for one of another kind of database.
    pub(crate) fn read(cursor: &Cursor) -> Option<Self> {
        if cursor.0.is_empty() {
            return Some(Self::default());
        }
        let (job, signal) = cursor.0.strip_prefix("s1|")?.split_once('|')?;
        Some(Self {
            job: job.parse().ok()?,
            signal: signal.parse().ok()?,
        })
    }

    pub(crate) fn write(self) -> Cursor {
        Cursor(format!("s1|{}|{}", self.job, self.signal))
    }
}

/// The snapshot that sees nothing.
pub(crate) const NOTHING: &str = "1:1:";

/// How far a window has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reached<K> {
    /// To this row, by transaction and key.
    Row(String, K),
    /// To its end.
    End,
}

impl<K> Reached<K> {
    pub(crate) fn begin(nil: K) -> Self {
        Self::Row("0".into(), nil)
    }
}

/// What became visible between two snapshots, and how far it has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// The later snapshot.
    pub(crate) end: String,
    pub(crate) jobs: Reached<Uuid>,
    pub(crate) signals: Reached<i64>,
    /// Whether jobs that were tried are left out, whatever the caller asks: the window began after a restore.
    pub(crate) recovering: bool,
}

/// On PostgreSQL transactions commit in another order than their rows' numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PgCursor {
    /// Which cluster counted the transactions.
    pub(crate) cluster: String,
    /// Everything that this snapshot sees has been seen.
    pub(crate) seen: String,
    /// No job that was seen has a later id. What was made since is beyond it, but for transactions that overlapped: a
    /// refill need not look there.
    pub(crate) last: Uuid,
    /// The window that is being read.
    pub(crate) window: Option<Window>,
}

impl PgCursor {
    /// A cursor that no cluster wrote: everything is looked at again, but for what has been tried.
    pub(crate) fn foreign() -> Self {
        Self {
            cluster: String::new(),
            seen: NOTHING.into(),
            last: Uuid::nil(),
            window: None,
        }
    }

    /// `None` for one of another kind of database.
    pub(crate) fn read(cursor: &Cursor) -> Option<Self> {
        if cursor.0.is_empty() {
            return Some(Self::foreign());
        }
        let mut parts = cursor.0.strip_prefix("p1|")?.split('|');
        let (cluster, seen) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let last = parts.next()?.parse().ok()?;
        let Some(end) = parts.next() else {
            return Some(Self {
                cluster,
                seen,
                last,
                window: None,
            });
        };
        let window = Window {
            end: end.to_owned(),
            jobs: reached(parts.next()?)?,
            signals: reached(parts.next()?)?,
            recovering: parts.next()? == "r",
        };
        Some(Self {
            cluster,
            seen,
            last,
            window: Some(window),
        })
    }

    pub(crate) fn write(&self) -> Cursor {
        let mut text = format!("p1|{}|{}|{}", self.cluster, self.seen, self.last);
        if let Some(window) = &self.window {
            let recovering = if window.recovering { "r" } else { "" };
            let (jobs, signals) = (written(&window.jobs), written(&window.signals));
            text = format!("{text}|{}|{jobs}|{signals}|{recovering}", window.end);
        }
        Cursor(text)
    }

    /// The latest snapshot that it knows of.
    pub(crate) fn latest(&self) -> &str {
        self.window
            .as_ref()
            .map_or(&self.seen, |window| &window.end)
    }

    /// What has been seen: all of the first snapshot, and of the second the rows up to this one.
    pub(crate) fn covers(&self) -> (&str, &str, &str, Uuid) {
        match &self.window {
            None => (&self.seen, NOTHING, "0", Uuid::nil()),
            Some(Window {
                end,
                jobs: Reached::End,
                ..
            }) => (end, NOTHING, "0", Uuid::nil()),
            Some(Window {
                end,
                jobs: Reached::Row(xid, id),
                ..
            }) => (&self.seen, end, xid, *id),
        }
    }
}

fn reached<K: std::str::FromStr>(text: &str) -> Option<Reached<K>> {
    if text == "." {
        return Some(Reached::End);
    }
    let (xid, key) = text.split_once('/')?;
    Some(Reached::Row(xid.to_owned(), key.parse().ok()?))
}

fn written<K: std::fmt::Display>(reached: &Reached<K>) -> String {
    match reached {
        Reached::Row(xid, key) => format!("{xid}/{key}"),
        Reached::End => ".".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_being_written_and_read() {
        let window = Window {
            end: "10:20:12,14".into(),
            jobs: Reached::Row("12".into(), Uuid::from_u128(7)),
            signals: Reached::End,
            recovering: true,
        };
        for window in [None, Some(window)] {
            let cursor = PgCursor {
                cluster: "77".into(),
                seen: "5:9:6".into(),
                last: Uuid::from_u128(9),
                window,
            };
            assert_eq!(PgCursor::read(&cursor.write()), Some(cursor));
        }
        let cursor = SqliteCursor { job: 5, signal: 9 };
        assert_eq!(SqliteCursor::read(&cursor.write()), Some(cursor));
    }

    #[test]
    fn a_cursor_of_another_database_is_not_understood() {
        let cursor = SqliteCursor { job: 5, signal: 9 }.write();
        assert_eq!(PgCursor::read(&cursor), None);
        assert_eq!(
            SqliteCursor::read(&Cursor(PgCursor::foreign().write().0)),
            None
        );
    }
}
