//! Which moments a cron expression names in a time zone, clock changes included.
//!
//! Two kinds of rules. One that names hours (`30 2 * * *`, `0 */6 * * *`) runs once for each time that it names: a time
//! that a clock change leaves out runs at the first moment after the gap, one that comes twice runs at the first of the
//! two. One of every hour (`*/5 * * * *`, `0 * * * *`) follows the clock: it runs whenever the clock shows a time that it
//! names, twice in an hour that comes twice, and not at times that never come; so its rhythm goes on unchanged.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use crate::time::Timestamp;

/// Characters of an expression.
pub const EXPRESSION_MAX: usize = 200;
/// Clock changes that a search goes past: more than there are in the years that a rule can leave out.
const CHANGES_MAX: usize = 400;
/// Times that are counted within one clock change.
const COUNTED_MAX: i64 = 10_000;

/// The names of common rules.
const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// How a field says every hour.
const EVERY_HOUR: &[&str] = &["*", "*/1", "0-23", "?"];

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It is no expression.
    #[error(
        "must be five fields (minute hour day month weekday), six with seconds first, or one of @hourly, @daily, \
         @weekly, @monthly, @yearly: {0}"
    )]
    Expression(String),
    /// It is longer than a person would write.
    #[error("must have at most {EXPRESSION_MAX} characters")]
    TooLong,
    /// No day is like that.
    #[error("names a time that never comes")]
    Never,
}

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Rule {
    cron: Cron,
    zone: TimeZone,
    every_hour: bool,
}

/// A moment that a rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// When.
    pub at: Timestamp,
    /// What a clock change makes of it.
    pub oddity: Option<Oddity>,
}

/// What a clock change makes of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// The time that is named does not exist: this is the first moment after the gap.
    Moved {
        /// The time that is named.
        named: DateTime,
    },
    /// The time comes twice: this is the first of the two, and the second does not run.
    FirstOfTwo,
    /// The time comes twice, and runs both times.
    OneOfTwo,
}

impl std::fmt::Display for Oddity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Moved { named } => write!(
                f,
                "{} does not exist that day; it runs at the first moment after",
                named.time()
            ),
            Self::FirstOfTwo => {
                f.write_str("this time comes twice that day; it runs at the first of the two")
            }
            Self::OneOfTwo => f.write_str("this time comes twice that day; it runs both times"),
        }
    }
}

/// What a rule makes of a clock change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Times that do not exist run at the first moment after the gap, once for all of them.
    Moved,
    /// Times that come twice run the first time.
    FirstOfTwo,
    /// Times that do not exist are left out.
    LeftOut,
    /// Times that come twice run twice.
    Twice,
}

impl Effect {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::FirstOfTwo => "first_of_two",
            Self::LeftOut => "left_out",
            Self::Twice => "twice",
        }
    }
}

/// A clock change that a rule has to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockChange {
    /// When.
    pub at: Timestamp,
    /// What the clock shows at that moment, as it was set before.
    pub from: DateTime,
    /// What it shows from then on.
    pub to: DateTime,
    /// What the rule makes of it.
    pub effect: Effect,
    /// The first time concerned.
    pub first: DateTime,
    /// How many times that the rule names are concerned.
    pub count: i64,
}

impl std::fmt::Display for ClockChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(f, "on {} the clock goes from {}", from.date(), from.time())?;
        match from.date() == to.date() {
            true => write!(f, " to {}: ", to.time())?,
            false => write!(f, " to {} of {}: ", to.time(), to.date())?,
        }
        let first = self.first.time();
        match self.count {
            1 => write!(f, "{first} ")?,
            count => write!(f, "{first} and {} more times ", count - 1)?,
        }
        let one = self.count == 1;
        f.write_str(match (self.effect, one) {
            (Effect::Moved, true) => "does not exist and runs at the first moment after",
            (Effect::Moved, false) => "do not exist and run once, at the first moment after",
            (Effect::FirstOfTwo, true) => "comes twice and runs the first time",
            (Effect::FirstOfTwo, false) => "come twice and run the first time",
            (Effect::LeftOut, true) => "does not exist and is left out; the rhythm goes on",
            (Effect::LeftOut, false) => "do not exist and are left out; the rhythm goes on",
            (Effect::Twice, true) => "comes twice and runs twice",
            (Effect::Twice, false) => "come twice and run twice",
        })
    }
}

fn instant(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(at.micros()).ok()
}

fn timestamp(at: jiff::Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_microsecond())
}

impl Rule {
    /// Reads an expression. One that names no moment after `from` is refused.
    pub fn new(expression: &str, zone: TimeZone, from: Timestamp) -> Result<Self, RuleError> {
        let rule = Self::read(expression, zone)?;
        match rule.next(from) {
            Some(_) => Ok(rule),
            None => Err(RuleError::Never),
        }
    }

    /// Reads an expression that was looked at before.
    pub fn read(expression: &str, zone: TimeZone) -> Result<Self, RuleError> {
        if expression.chars().count() > EXPRESSION_MAX {
            return Err(RuleError::TooLong);
        }
        let expression = expression.trim();
        let expression = match expression.strip_prefix('@') {
            None => expression,
            Some(_) => NICKNAMES
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(expression))
                .map(|(_, meant)| *meant)
                .ok_or_else(|| RuleError::Expression(format!("{expression} is none of them")))?,
        };
        let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
        let hour = match fields.len() {
            5 => fields[1],
            6 => fields[2],
            other => return Err(RuleError::Expression(format!("it has {other} fields"))),
        };
        let cron = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build()
            .parse(&fields.join(" "))
            .map_err(|error| RuleError::Expression(error.to_string()))?;
        Ok(Self {
            cron,
            zone,
            every_hour: EVERY_HOUR.contains(&hour),
        })
    }

    /// Whether it follows the clock, hour by hour, rather than naming times of a day.
    pub const fn follows_clock(&self) -> bool {
        self.every_hour
    }

    /// The first moment strictly after this one. `None`: there is none.
    pub fn next(&self, after: Timestamp) -> Option<Tick> {
        match self.every_hour {
            true => self.next_shown(after),
            false => self.next_named(after),
        }
    }

    /// What the clock shows then, with its offset: `2026-11-22T02:00:00+01:00`.
    pub fn local(&self, at: Timestamp) -> String {
        match instant(at) {
            Some(at) => at.display_with_offset(self.zone.to_offset(at)).to_string(),
            None => String::new(),
        }
    }

    /// The clock changes in this time that the rule has to do with, at most `max`.
    pub fn changes(&self, after: Timestamp, until: Timestamp, max: usize) -> Vec<ClockChange> {
        let (Some(after), Some(until)) = (instant(after), instant(until)) else {
            return Vec::new();
        };
        let mut before = self.zone.to_offset(after);
        let mut found = Vec::new();
        for change in self.zone.following(after).take(CHANGES_MAX) {
            if change.timestamp() > until || found.len() == max {
                break;
            }
            let now = change.offset();
            found.extend(self.change(change.timestamp(), before, now));
            before = now;
        }
        found
    }

    fn change(&self, at: jiff::Timestamp, before: Offset, now: Offset) -> Option<ClockChange> {
        let (from, to) = (before.to_datetime(at), now.to_datetime(at));
        let (start, end, effect) = match (from < to, self.every_hour) {
            (true, false) => (from, to, Effect::Moved),
            (true, true) => (from, to, Effect::LeftOut),
            (false, false) => (to, from, Effect::FirstOfTwo),
            (false, true) => (to, from, Effect::Twice),
        };
        let first = self.civil(start, true).filter(|first| *first < end)?;
        let (mut last, mut count) = (first, 1);
        while count < COUNTED_MAX
            && let Some(next) = self.civil(last, false).filter(|next| *next < end)
        {
            (last, count) = (next, count + 1);
        }
        Some(ClockChange {
            at: timestamp(at),
            from,
            to,
            effect,
            first,
            count,
        })
    }

    /// The next time of a calendar without clock changes.
    fn civil(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&from, inclusive).ok()
    }

    /// Each named time has its moment, and the order of the times is that of the moments: so the first named time whose
    /// moment is later is the one.
    fn next_named(&self, after: Timestamp) -> Option<Tick> {
        let mut named = self.zone.to_datetime(instant(after)?);
        loop {
            named = self.civil(named, false)?;
            let tick = self.moment(named)?;
            if tick.at > after {
                return Some(tick);
            }
        }
    }

    /// The one moment of a named time.
    fn moment(&self, named: DateTime) -> Option<Tick> {
        let (at, oddity) = match self.zone.to_ambiguous_timestamp(named).offset() {
            AmbiguousOffset::Unambiguous { offset } => (offset.to_timestamp(named).ok()?, None),
            AmbiguousOffset::Fold { before, .. } => {
                (before.to_timestamp(named).ok()?, Some(Oddity::FirstOfTwo))
            }
            AmbiguousOffset::Gap { after, .. } => {
                // Read with the later offset it is a moment before the change.
                let early = after.to_timestamp(named).ok()?;
                let mut changes = self.zone.following(early).take(CHANGES_MAX);
                let change = changes.find(|change| change.offset() == after)?;
                (change.timestamp(), Some(Oddity::Moved { named }))
            }
        };
        Some(Tick {
            at: timestamp(at),
            oddity,
        })
    }

    /// Between two clock changes the calendar is a straight line: it is searched from change to change.
    fn next_shown(&self, after: Timestamp) -> Option<Tick> {
        let (mut from, mut inclusive) = (instant(after)?, false);
        for _ in 0..CHANGES_MAX {
            let offset = self.zone.to_offset(from);
            let shown = self.civil(offset.to_datetime(from), inclusive)?;
            let at = offset.to_timestamp(shown).ok()?;
            match self.zone.following(from).next() {
                Some(change) if change.timestamp() <= at => {
                    (from, inclusive) = (change.timestamp(), true);
                }
                _ => {
                    let twice = matches!(
                        self.zone.to_ambiguous_timestamp(shown).offset(),
                        AmbiguousOffset::Fold { .. }
                    );
                    return Some(Tick {
                        at: timestamp(at),
                        oddity: twice.then_some(Oddity::OneOfTwo),
                    });
                }
            }
        }
        None
    }
}
