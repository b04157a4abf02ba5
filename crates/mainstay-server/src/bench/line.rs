//! What a bench ends in: one line of JSON for machines, a few lines for people.

use serde::Serialize;

/// The result of one bench on one database. `None` where something does not apply.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    /// `intake`, `drain`, `latency`, …
    pub(crate) bench: &'static str,
    /// `sqlite` or `postgres`.
    pub(crate) database: &'static str,
    /// What was measured.
    pub(crate) value: f64,
    /// Of `value` and `reference`.
    pub(crate) unit: &'static str,
    /// What was measured beside it in the same run, to compare with.
    pub(crate) reference: Option<f64>,
    /// `value / reference`.
    pub(crate) ratio: Option<f64>,
    /// The median, in milliseconds.
    pub(crate) p50_ms: Option<f64>,
    /// The 99th percentile, in milliseconds.
    pub(crate) p99_ms: Option<f64>,
    /// The most memory that the server's process had resident, in MiB.
    pub(crate) peak_rss_mib: Option<f64>,
    /// What the ratio (or, without one, the value) has to reach.
    pub(crate) bar: Option<f64>,
    /// Whether that and everything else that the bench asks for was reached.
    pub(crate) holds: Option<bool>,
}

impl Line {
    /// The line for machines: figures with three decimals at most.
    pub(crate) fn json(&self) -> String {
        let round = |value: f64| (value * 1_000.0).round() / 1_000.0;
        let rounded = Self {
            value: round(self.value),
            reference: self.reference.map(round),
            ratio: self.ratio.map(round),
            p50_ms: self.p50_ms.map(round),
            p99_ms: self.p99_ms.map(round),
            peak_rss_mib: self.peak_rss_mib.map(round),
            ..*self
        };
        serde_json::to_string(&rounded).unwrap_or_default()
    }

    /// The word for people.
    pub(crate) const fn word(&self) -> &'static str {
        match self.holds {
            Some(true) => "holds",
            Some(false) => "DOES NOT HOLD",
            None => "measured",
        }
    }
}

/// Median, smallest and largest of some runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without any run.
    pub(crate) fn of(runs: &[f64]) -> Option<Self> {
        let mut sorted = runs.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: *sorted.get(sorted.len() / 2)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
        })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median, min, max } = self;
        write!(f, "{median:.0} ({min:.0} to {max:.0})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_exactly_the_promised_fields_in_their_order() {
        let line = Line {
            bench: "intake",
            database: "sqlite",
            value: 25_000.123_456,
            unit: "requests/s",
            reference: Some(80_000.0),
            ratio: Some(0.312_501_5),
            p50_ms: Some(1.5),
            p99_ms: None,
            peak_rss_mib: Some(61.0),
            bar: Some(0.25),
            holds: Some(true),
        };
        assert_eq!(
            line.json(),
            r#"{"bench":"intake","database":"sqlite","value":25000.123,"unit":"requests/s","reference":80000.0,"ratio":0.313,"p50_ms":1.5,"p99_ms":null,"peak_rss_mib":61.0,"bar":0.25,"holds":true}"#
        );
    }

    #[test]
    fn the_median_of_three_is_the_middle_one() {
        let spread = Spread::of(&[30.0, 10.0, 20.0]).expect("three runs");
        assert_eq!(spread.to_string(), "20 (10 to 30)");
        assert_eq!(Spread::of(&[]), None);
    }
}
