//! `api.json` in the data directory: where this server is, and a key of an owner's for whoever may read the file. The
//! command line on the same machine goes in by it. New at every start; gone after an orderly end.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context as _;
use mainstay_domain::{
    KeyId, Scope, StoreExt, Timestamp,
    access::{ApiKey, AuditEntry, RateClass, RateOverride, Role},
};

use crate::{
    access::{
        audit::entry,
        keys::{digest, parse, random_secret, token},
    },
    state::App,
};

/// The name of the file.
pub(crate) const API_FILE: &str = "api.json";
/// The name of the key.
const NAME: &str = "local-cli";
/// Who makes it.
const ACTOR: &str = "system:serve";

/// Makes a fresh key; the one that this directory's last server had stops working.
pub(super) async fn key(app: &App, directory: &Path) -> anyhow::Result<String> {
    let old = last(directory);
    let now = app.clock.now();
    let secret = random_secret(&*app.random);
    let key = ApiKey {
        id: KeyId::new(now, &*app.random),
        name: NAME.into(),
        role: Role::Owner,
        tenant: None,
        digest: digest(&secret),
        created_at: now,
        expires_at: None,
        last_used_at: None,
        limits: unhindered(app),
    };
    let shown = token(key.id, &secret);
    let told = told(app, "key.create", key.id);
    let gone = old.map(|old| (old, self::told(app, "key.delete", old)));
    app.store
        .transact(Scope::System("local key"), move |tx| {
            let (key, told, gone) = (key.clone(), told.clone(), gone.clone());
            Box::pin(async move {
                if let Some((old, gone)) = gone
                    && tx.key_delete(old).await?
                {
                    tx.audit_insert(&gone).await?;
                }
                tx.key_insert(&key).await?;
                tx.audit_insert(&told).await
            })
        })
        .await?;
    Ok(shown)
}

/// The key is a person's at this machine: it may do as much of everything as a person.
fn unhindered(app: &App) -> Vec<RateOverride> {
    let at: Timestamp = app.clock.now();
    let as_a_person = |class| RateOverride {
        class,
        per_minute: app.limits.requests.all,
        until: None,
        reason: "the command line on this machine".into(),
        by: ACTOR.into(),
        at,
    };
    RateClass::ALL.into_iter().map(as_a_person).collect()
}

fn told(app: &App, action: &str, key: KeyId) -> AuditEntry {
    let what = serde_json::json!({ "name": NAME });
    entry(app, ACTOR.into(), action, key.to_string(), Some(what), None)
}

/// The key that stands in the file of the last start.
fn last(directory: &Path) -> Option<KeyId> {
    let text = fs::read_to_string(directory.join(API_FILE)).ok()?;
    let file: serde_json::Value = serde_json::from_str(&text).ok()?;
    parse(file.get("token")?.as_str()?).map(|(id, _)| id)
}

/// Writes the file as a whole: a reader sees the old one or the new one.
pub(super) fn write(
    directory: &Path,
    address: &str,
    token: &str,
    database: &str,
) -> anyhow::Result<()> {
    let to = directory.join(API_FILE);
    let draft = directory.join(format!("{API_FILE}.new"));
    let text = serde_json::json!({
        "address": address,
        "token": token,
        "database": database,
        "pid": std::process::id(),
    });
    let written = private(&draft)
        .and_then(|mut file| writeln!(file, "{text}"))
        .and_then(|()| fs::rename(&draft, &to));
    written.with_context(|| format!("cannot write {}", to.display()))
}

fn private(path: &Path) -> io::Result<fs::File> {
    // A leftover could have other permissions.
    let _ = fs::remove_file(path);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// After an orderly end nobody should look for a server here, and the key is of no use.
pub(super) async fn remove(app: &App, directory: &Path) {
    if let Some(key) = last(directory) {
        let told = told(app, "key.delete", key);
        let gone = app
            .store
            .transact(Scope::System("local key"), move |tx| {
                let told = told.clone();
                Box::pin(async move {
                    if tx.key_delete(key).await? {
                        tx.audit_insert(&told).await?;
                    }
                    Ok(())
                })
            })
            .await;
        if let Err(error) = gone {
            tracing::debug!(%error, "the local key could not be removed");
        }
    }
    if let Err(error) = fs::remove_file(directory.join(API_FILE)) {
        tracing::debug!(%error, "the file of the local address could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "http://127.0.0.1:1", "msk_x", "sqlite").expect("it is written");
        write(folder.path(), "http://127.0.0.1:2", "msk_y", "sqlite").expect("it is written again");
        let path = folder.path().join(API_FILE);
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(
            fs::read_to_string(path)
                .expect("it is there")
                .contains("127.0.0.1:2")
        );
    }
}
