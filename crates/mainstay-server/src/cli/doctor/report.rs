//! What was looked at, how it is, and what to do about it.

use mainstay_store::examine::{Finding, Grade};
use serde_json::{Value, json};

use super::super::{
    failure::Failure,
    output::Output,
    table::{Cell, Column, Table, Tone},
};

/// One line of the report.
#[derive(Debug)]
struct Check {
    subject: String,
    grade: Grade,
    detail: String,
    remedy: Option<String>,
}

/// All lines, in order.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Check>);

impl Report {
    pub(super) fn fine(&mut self, subject: &str, detail: impl Into<String>) {
        self.add(subject, Grade::Fine, detail, None);
    }

    pub(super) fn doubtful(&mut self, subject: &str, detail: impl Into<String>, remedy: &str) {
        self.add(subject, Grade::Doubtful, detail, Some(remedy));
    }

    pub(super) fn wrong(&mut self, subject: &str, detail: impl Into<String>, remedy: &str) {
        self.add(subject, Grade::Wrong, detail, Some(remedy));
    }

    pub(super) fn finding(&mut self, finding: &Finding) {
        self.add(
            finding.subject,
            finding.grade,
            finding.detail.clone(),
            finding.remedy,
        );
    }

    fn add(
        &mut self,
        subject: &str,
        grade: Grade,
        detail: impl Into<String>,
        remedy: Option<&str>,
    ) {
        self.0.push(Check {
            subject: subject.to_owned(),
            grade,
            detail: detail.into(),
            remedy: remedy.map(str::to_owned),
        });
    }

    /// Whether anything does not work.
    pub(super) fn failed(&self) -> bool {
        self.0.iter().any(|check| check.grade == Grade::Wrong)
    }

    pub(super) fn to_json(&self) -> Value {
        let checks: Vec<Value> = self
            .0
            .iter()
            .map(|check| {
                json!({
                    "subject": check.subject, "outcome": word(check.grade),
                    "detail": check.detail, "remedy": check.remedy,
                })
            })
            .collect();
        json!({ "ok": !self.failed(), "checks": checks })
    }

    pub(super) fn print(&self, out: &Output) -> Result<(), Failure> {
        let mut table = Table::new(&[
            Column::Whole(""),
            Column::Whole("CHECK"),
            Column::Text("FOUND"),
        ]);
        for check in &self.0 {
            table.row([
                Cell::state(word(check.grade)),
                check.subject.as_str().into(),
                check.detail.as_str().into(),
            ]);
        }
        out.table(&table, "")?;
        let remedies = self
            .0
            .iter()
            .filter_map(|check| Some((check, check.remedy.as_deref()?)));
        let mut remedies = remedies.peekable();
        if remedies.peek().is_some() {
            out.title("What to do")?;
        }
        for (check, remedy) in remedies {
            out.line(&format!(
                "{}: {}",
                check.subject,
                super::super::table::clean(&check.detail)
            ))?;
            out.line(&format!("  {remedy}"))?;
        }
        let (tone, verdict) = if self.failed() {
            (Tone::Bad, "\nsomething is wrong")
        } else {
            (Tone::Good, "\nnothing is wrong")
        };
        out.toned(tone, verdict)
    }
}

const fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Fine => "ok",
        Grade::Doubtful => "warn",
        Grade::Wrong => "fail",
    }
}
