//! Encryption at rest: whether it is on, with keys that open what is sealed.

use mainstay_domain::vault::Vault;

use super::{
    super::{Context, api::text},
    report::Report,
};
use crate::config::Config;

const SUBJECT: &str = "encryption";

/// Looks at the keys as the server would read them, and asks the one that runs what it has sealed under which.
pub(super) async fn check(report: &mut Report, context: &Context, config: &Config, running: bool) {
    let vault = match config.master_keys.load().await {
        Ok(vault) => vault,
        Err(error) => {
            let remedy = "without its master keys the server does not start (docs/encryption.md)";
            return report.wrong(SUBJECT, format!("{error:#}"), remedy);
        }
    };
    let here = said(&vault);
    let asked = match (running, context.api()) {
        (true, Ok(api)) => api.get("/v1/vault", &[]).await.ok(),
        _ => None,
    };
    let Some(found) = asked else {
        return report.fine(SUBJECT, here);
    };
    let served = text(&found, "/on") == "true";
    match (served, text(&found, "/whole").as_str()) {
        (true, "true") => report.fine(
            SUBJECT,
            "on; everything is sealed; keep the master key where backups are not",
        ),
        (true, _) => report.doubtful(
            SUBJECT,
            "on; what was stored before is not sealed yet",
            "mainstay vault rotate --seal",
        ),
        (false, _) => report.fine(SUBJECT, here),
    }
}

fn said(vault: &Vault) -> String {
    match vault.masters().first() {
        Some(first) => format!(
            "on, under the master key {first}; keep it where backups are not: without it they cannot be read"
        ),
        None => "off: payloads and secrets are stored as they are; `mainstay vault master-key` makes a key"
            .to_owned(),
    }
}
