//! The figures of the overview: one window of time, in points that a chart can draw.

use std::collections::HashMap;

use mainstay_domain::{
    Scope, Store, StoreExt, StoreResult, Timestamp,
    watch::{Sample, Series},
};
use uuid::Uuid;

/// A window of the overview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The last hour, by the minute.
    Hour,
    /// The last 24 hours, by 15 minutes.
    Day,
    /// The last 7 days, by 2 hours.
    Week,
}

impl Window {
    /// How long it is, in seconds.
    pub const fn secs(self) -> i64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 604_800,
        }
    }

    /// How long one point is, in seconds.
    pub const fn step_secs(self) -> i64 {
        match self {
            Self::Hour => 60,
            Self::Day => 900,
            Self::Week => 7_200,
        }
    }
}

/// Counts of every series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests accepted with something new.
    pub received: i64,
    /// Requests that brought nothing new.
    pub duplicates: i64,
    /// Requests refused.
    pub refused: i64,
    /// Those of them that were only counted.
    pub refused_not_kept: i64,
    /// Jobs done.
    pub done: i64,
    /// Attempts that failed and are repeated.
    pub failed: i64,
    /// Jobs that died.
    pub dead: i64,
    /// Milliseconds of successful attempts, added up.
    pub duration_ms: i64,
}

impl Counts {
    fn add(&mut self, series: Series, count: i64) {
        let field = match series {
            Series::Received => &mut self.received,
            Series::Duplicates => &mut self.duplicates,
            Series::Refused => &mut self.refused,
            Series::Done => &mut self.done,
            Series::Failed => &mut self.failed,
            Series::Dead => &mut self.dead,
            Series::DurationMs => &mut self.duration_ms,
            Series::FilterFailed
            | Series::SchemaChecked
            | Series::SchemaViolated
            | Series::SchemaIncomplete
            | Series::SchemaUnchecked
            | Series::Dated
            | Series::Fresh
            | Series::RateExceeded
            | Series::TurnedAway
            | Series::Conflicts => return,
            Series::RefusedNotKept => &mut self.refused_not_kept,
        };
        *field += count;
    }

    /// The share of attempts that succeeded; `None` when there were none.
    pub fn success_rate(&self) -> Option<f64> {
        let all = self.done + self.failed + self.dead;
        (all > 0).then(|| self.done as f64 / all as f64)
    }
}

/// One point of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Its start.
    pub at: Timestamp,
    /// What was counted.
    pub counts: Counts,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The points, oldest first, without gaps.
    pub points: Vec<Point>,
    /// Everything added up.
    pub totals: Counts,
    /// Added up by source or endpoint.
    pub by_subject: HashMap<Uuid, Counts>,
}

/// The window that ends now. With `subjects`, only what was counted for these (what a tenant may see).
pub async fn overview(
    store: &dyn Store,
    now: Timestamp,
    window: Window,
    subjects: Option<&[Uuid]>,
) -> StoreResult<Overview> {
    let first = first_point(now, window);
    let samples = store
        .read(Scope::System("overview"), move |tx| {
            Box::pin(async move { tx.samples_list(first).await })
        })
        .await?;
    let seen = samples
        .into_iter()
        .filter(|sample| subjects.is_none_or(|own| own.contains(&sample.subject)));
    Ok(gather(now, window, seen))
}

fn first_point(now: Timestamp, window: Window) -> Timestamp {
    let step = window.step_secs();
    Timestamp::from_secs((now.secs() - window.secs()).div_euclid(step) * step + step)
}

fn gather(now: Timestamp, window: Window, samples: impl Iterator<Item = Sample>) -> Overview {
    let first = first_point(now, window);
    let step = window.step_secs();
    let points = (now.secs() - first.secs()).div_euclid(step) + 1;
    let mut overview = Overview {
        points: (0..points)
            .map(|index| Point {
                at: Timestamp::from_secs(first.secs() + index * step),
                counts: Counts::default(),
            })
            .collect(),
        totals: Counts::default(),
        by_subject: HashMap::new(),
    };
    for sample in samples {
        let index = (sample.minute.secs() - first.secs()).div_euclid(step);
        let Some(point) = usize::try_from(index)
            .ok()
            .and_then(|index| overview.points.get_mut(index))
        else {
            continue;
        };
        point.counts.add(sample.series, sample.count);
        overview.totals.add(sample.series, sample.count);
        overview
            .by_subject
            .entry(sample.subject)
            .or_default()
            .add(sample.series, sample.count);
    }
    overview
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_a_point_for_every_step_and_counts_each_sample_once() {
        let now = Timestamp::from_secs(1_800_000_123);
        for window in [Window::Hour, Window::Day, Window::Week] {
            let first = first_point(now, window);
            let samples = (0..200).map(|index| Sample {
                series: Series::Received,
                subject: Uuid::nil(),
                minute: Timestamp::from_secs(first.secs() + index * 60),
                count: 1,
            });
            let overview = gather(now, window, samples);
            assert_eq!(
                overview.points.len() as i64,
                window.secs() / window.step_secs()
            );
            let inside = (now.secs() - first.secs()).min(199 * 60) / 60 + 1;
            let in_points: i64 = overview
                .points
                .iter()
                .map(|point| point.counts.received)
                .sum();
            assert_eq!(overview.totals.received, in_points);
            assert!((in_points - inside).abs() <= 1, "{in_points} of {inside}");
        }
    }

    #[test]
    fn the_success_rate_of_nothing_is_nothing() {
        assert_eq!(Counts::default().success_rate(), None);
        let counts = Counts {
            done: 3,
            failed: 1,
            ..Counts::default()
        };
        assert_eq!(counts.success_rate(), Some(0.75));
    }
}
