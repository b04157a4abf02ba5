//! Whether the master keys are those that the database was sealed with, before anything is promised on it.

use anyhow::bail;
use mainstay_domain::{Scope, Store, StoreExt, vault::MasterId};

/// Refuses to go on without a key that something was sealed under, and says whether anything is.
pub(super) async fn check(store: &dyn Store) -> anyhow::Result<()> {
    let wrapping = store
        .read(Scope::System("vault"), |tx| {
            Box::pin(async move { tx.data_key_masters().await })
        })
        .await?;
    let vault = store.vault();
    let missing = vault.missing(wrapping.iter().map(|one| one.master));
    if !missing.is_empty() {
        bail!(
            "this database is sealed under the master key {}, which is not among those configured ({}); set \
             MAINSTAY_MASTER_KEY, master_key.file or master_key.command (docs/encryption.md)",
            listed(&missing),
            match vault.masters().as_slice() {
                [] => "none is".to_owned(),
                own => listed(own),
            },
        );
    }
    if vault.on() {
        store
            .transact(Scope::System("vault"), |tx| {
                Box::pin(async move { tx.vault_whole(true).await })
            })
            .await?;
    }
    match vault.masters().first() {
        Some(first) => tracing::info!(master_key = %first, "encryption at rest is on"),
        None => tracing::warn!(
            "encryption at rest is off: payloads and secrets are stored as they are; `mainstay vault master-key` makes \
             a master key (docs/encryption.md)"
        ),
    }
    Ok(())
}

fn listed(ids: &[MasterId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(", ")
}
