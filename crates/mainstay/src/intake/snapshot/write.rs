//! Keeps the snapshot: looks at the configuration once a second and writes what is new of it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use mainstay_domain::{
    Scope, StoreExt, TenantId, Timestamp,
    intake::Config,
    vault::{DataKeyRow, Known},
};
use tokio::sync::watch;

use super::{
    super::{Intake, spool::folder_sync},
    FILE, FILE_NEW, Inner, KeyForm, Outer, SourceForm, VERSION, encoded, forms, place,
};

/// How often it is looked whether something changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How old a snapshot grows before it is written once more though nothing changed, so that its age tells how long ago it
/// was right.
const CONFIRM_MS: i64 = 10 * 60 * 1_000;
/// How long it takes at most until the file is tried again that could not be written, and how often that is said.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Keys of nobody's data that are looked at.
const KEYS_MAX: i64 = 1_000;

/// What was written last.
struct Written {
    version: i64,
    /// How often keys were retired or destroyed by then.
    changes: i64,
    key: KeyForm,
    sources: Vec<SourceForm>,
    at: Timestamp,
}

/// What there is: the key, and the configuration where it is to be looked at.
struct Found {
    version: i64,
    changes: i64,
    key: Option<DataKeyRow>,
    config: Option<Config>,
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Keeping {
    written: Option<Written>,
    trouble: Trouble,
}

/// A file that cannot be written: each time costs a whole configuration, so it is tried less and less often.
#[derive(Default)]
struct Trouble {
    /// How often it failed since it was last well.
    failures: u32,
    said_at: Option<Timestamp>,
}

impl Trouble {
    /// It failed once more. True: that is to be said.
    fn failed(&mut self, now: Timestamp) -> bool {
        self.failures = self.failures.saturating_add(1);
        let silent = 0..RETRY_MAX.as_millis() as i64;
        let lately = |at: Timestamp| silent.contains(&now.ms_since(at));
        let say = !self.said_at.is_some_and(lately);
        if say {
            self.said_at = Some(now);
        }
        say
    }

    /// How long until the next look.
    fn pause(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures.saturating_sub(1));
        LOOK_EVERY.saturating_mul(doubled).min(RETRY_MAX)
    }
}

/// Writes the snapshot whenever it has changed, where one is kept, until it is told to stop.
pub(crate) async fn run(intake: Arc<Intake>, mut stop: watch::Receiver<bool>) {
    let keeps = intake.spool.as_ref().is_some_and(|spool| spool.snapshots());
    if !keeps || !intake.store.vault().on() {
        return;
    }
    let mut keeping = Keeping::default();
    loop {
        let kept = tokio::select! {
            kept = intake.snapshot_keep(&mut keeping) => kept,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        if let Err(why) = kept {
            tracing::debug!(
                why,
                "the snapshot of the sources was not looked at, or not written"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(keeping.trouble.pause()) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Intake {
    /// Writes the snapshot once, where it is kept and the last one is another. Done in the background; for tests.
    pub async fn snapshot_write(&self) -> Result<(), String> {
        self.snapshot_keep(&mut Keeping::default()).await
    }

    async fn snapshot_keep(&self, keeping: &mut Keeping) -> Result<(), String> {
        let Some(spool) = &self.spool else {
            return Ok(());
        };
        let now = self.clock.now();
        let Keeping { written, trouble } = keeping;
        let found = self.snapshot_look(written.as_ref(), now).await?;
        let (Some(key), Some(config)) = (found.key, found.config) else {
            return Ok(());
        };
        let Some(form) = KeyForm::of(&key) else {
            return Ok(());
        };
        let sources = forms(&config);
        let fresh = written.as_ref().is_some_and(|known| {
            known.key == form && known.sources == sources && !is_due(known, now)
        });
        if !fresh {
            let bytes = self.snapshot_sealed(&key, &form, found.version, &sources, now)?;
            let folder = spool.folder().to_owned();
            let replaced = tokio::task::spawn_blocking(move || replace(&folder, &bytes)).await;
            let replaced = replaced.unwrap_or_else(|error| Err(io::Error::other(error)));
            spool.snapshot_note(now, replaced.as_ref().err().map(ToString::to_string));
            replaced.map_err(|error| {
                if trouble.failed(now) {
                    tracing::warn!(%error, "the snapshot of the sources cannot be written; trying again");
                }
                error.to_string()
            })?;
        }
        *trouble = Trouble::default();
        let at = match written {
            Some(known) if fresh => known.at,
            _ => now,
        };
        *written = Some(Written {
            version: found.version,
            changes: found.changes,
            key: form,
            sources,
            at,
        });
        Ok(())
    }

    async fn snapshot_look(
        &self,
        written: Option<&Written>,
        now: Timestamp,
    ) -> Result<Found, String> {
        let known = written.filter(|known| !is_due(known, now));
        let known = known.map(|known| {
            let key = (known.key.number, known.key.master);
            (known.version, known.changes, key)
        });
        let vault = Arc::clone(self.store.vault());
        let asked = self.store.read(Scope::System("snapshot"), move |tx| {
            let vault = Arc::clone(&vault);
            Box::pin(async move {
                let version = tx.config_version().await?;
                // Before the secrets are opened, and as of the same moment: what another node erased must not be read with
                // a key that this one still has at hand.
                let changes = tx.vault_state().await?.changes;
                vault.forget(changes);
                let keys = tx
                    .data_key_list(Some(TenantId::NIL), 0, KEYS_MAX)
                    .await?
                    .into_iter();
                let key = keys
                    .rev()
                    .find(|key| key.retired_at.is_none() && key.destroyed_at.is_none());
                let same = key.as_ref().is_some_and(|key| {
                    known == Some((version, changes, (key.number, key.master.0)))
                });
                let config = match same {
                    true => None,
                    false => Some(tx.config_load().await?),
                };
                Ok(Found {
                    version,
                    changes,
                    key,
                    config,
                })
            })
        });
        asked.await.map_err(|error| error.to_string())
    }

    fn snapshot_sealed(
        &self,
        row: &DataKeyRow,
        form: &KeyForm,
        version: i64,
        sources: &[SourceForm],
        now: Timestamp,
    ) -> Result<Vec<u8>, String> {
        let inner = Inner {
            taken_at: now,
            version,
            sources: sources.to_vec(),
        };
        let inner = serde_json::to_string(&inner).map_err(|error| error.to_string())?;
        let key = self.store.vault().unwrapped(row);
        let Known::Key(key) = key.map_err(|error| error.to_string())? else {
            return Err("the key is destroyed".into());
        };
        let sealed = key.seal_text(&place(), &inner);
        let outer = Outer {
            version: VERSION,
            taken_at: now,
            key: form.clone(),
            sealed: sealed.map_err(|error| error.to_string())?,
        };
        encoded(&outer).ok_or_else(|| "it cannot be written as JSON".into())
    }
}

/// Also where the clock was set back: what seems to be written later is not believed at a start.
fn is_due(written: &Written, now: Timestamp) -> bool {
    !(0..CONFIRM_MS).contains(&now.ms_since(written.at))
}

/// Puts these bytes in the file's place, whole: whoever is killed or loses power finds the old file or the new one.
fn replace(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = folder.join(FILE_NEW);
    // One that was left half written may have other rights.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(FILE))?;
    folder_sync(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_is_tried_ever_less_often_and_said_once_a_minute() {
        let begun = Timestamp::from_secs(1_900_000_000);
        let mut trouble = Trouble::default();
        assert_eq!(trouble.pause(), LOOK_EVERY);
        let (mut now, mut tried, mut said) = (begun, 0, 0);
        while now.ms_since(begun) < 60 * 60 * 1_000 {
            said += u32::from(trouble.failed(now));
            tried += 1;
            now = now.plus_ms(trouble.pause().as_millis() as i64);
        }
        assert!((60..=70).contains(&tried), "{tried}");
        assert!((55..=60).contains(&said), "{said}");
        for _ in 0..100 {
            trouble.failed(now);
        }
        assert_eq!(trouble.pause(), RETRY_MAX);
    }
}
