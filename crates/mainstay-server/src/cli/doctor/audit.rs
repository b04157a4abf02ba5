//! The end of the audit log's chain: whether it still is what was sealed.

use super::{
    super::{Context, audit},
    report::Report,
};

const SUBJECT: &str = "audit log";

/// Looks at the last entries, through the server that runs.
pub(super) async fn check(report: &mut Report, context: &Context, running: bool) {
    let Ok(api) = context.api() else { return };
    if !running {
        return report.fine(SUBJECT, "looked at while a server is running");
    }
    match audit::tail(&api).await {
        Ok(entries) => report.fine(
            SUBJECT,
            format!("the last {entries} entries are what was written"),
        ),
        Err(failure) => report.wrong(
            SUBJECT,
            failure.told(),
            "run `mainstay audit verify`, and compare with an export that was kept elsewhere",
        ),
    }
}
