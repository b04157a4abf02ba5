//! API keys: `msk_`, the 26 characters of the key's id, `_`, and 43 characters of secret. Only a digest of the secret
//! is stored, so neither the database nor a backup can give a key away.

use std::{
    collections::HashMap,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest as hash};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mainstay_domain::{KeyId, Random, Scope, StoreExt, access::ApiKey};
use tokio::time::Instant;

use crate::{http::Problem, limits, state::App};

const PREFIX: &str = "msk_";
const ID_LEN: usize = 26;
const SECRET_BYTES: usize = 32;
const SECRET_LEN: usize = 43;

/// SHA-256 of a secret. Secrets are random and long, so nothing slower is needed.
pub(crate) fn digest(secret: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hash(&SHA256, secret.as_bytes()).as_ref());
    out
}

/// 256 random bits as 43 characters.
pub(crate) fn random_secret(random: &dyn Random) -> String {
    let mut bytes = [0; SECRET_BYTES];
    random.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The text of a key, shown once.
pub(crate) fn token(id: KeyId, secret: &str) -> String {
    let shown = id.to_string();
    let id = shown.split_once('_').map_or(shown.as_str(), |(_, id)| id);
    format!("{PREFIX}{id}_{secret}")
}

/// The parts of a key's text.
pub(crate) fn parse(token: &str) -> Option<(KeyId, &str)> {
    let rest = token.strip_prefix(PREFIX)?;
    let (id, rest) = rest.split_at_checked(ID_LEN)?;
    let secret = rest.strip_prefix('_')?;
    let plain = secret
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if secret.len() != SECRET_LEN || !plain {
        return None;
    }
    Some((
        KeyId::from_str(&format!("{}_{id}", KeyId::PREFIX)).ok()?,
        secret,
    ))
}

/// Keys that were read a moment ago: a key that is deleted stops working within that moment on every node.
#[derive(Default)]
pub(crate) struct Keys(Mutex<HashMap<KeyId, (Instant, Arc<ApiKey>)>>);

impl Keys {
    /// The key behind this text, if it is one and has not ended.
    pub(crate) async fn find(
        &self,
        app: &App,
        token: &str,
    ) -> Result<Option<Arc<ApiKey>>, Problem> {
        let Some((id, secret)) = parse(token) else {
            return Ok(None);
        };
        let key = match self.remembered(id) {
            Some(key) => Some(key),
            None => self.load(app, id).await?,
        };
        let now = app.clock.now();
        Ok(key.filter(|key| {
            let same =
                aws_lc_rs::constant_time::verify_slices_are_equal(&key.digest, &digest(secret))
                    .is_ok();
            same && key.expires_at.is_none_or(|ends| ends > now)
        }))
    }

    /// Forgets a key at once, here; other nodes do so within [`limits::KEY_CACHE`].
    pub(crate) fn forget(&self, id: KeyId) {
        self.lock().remove(&id);
    }

    fn remembered(&self, id: KeyId) -> Option<Arc<ApiKey>> {
        let known = self.lock();
        let (read_at, key) = known.get(&id)?;
        (read_at.elapsed() < limits::KEY_CACHE).then(|| Arc::clone(key))
    }

    async fn load(&self, app: &App, id: KeyId) -> Result<Option<Arc<ApiKey>>, Problem> {
        let read_at = Instant::now();
        let found = app
            .store
            .read(Scope::System("key"), move |tx| {
                Box::pin(async move { tx.key_get(id).await })
            })
            .await?;
        let Some(key) = found.map(Arc::new) else {
            return Ok(None);
        };
        {
            let mut known = self.lock();
            if known.len() >= limits::KEY_CACHE_MAX {
                known.clear();
            }
            known.insert(id, (read_at, Arc::clone(&key)));
        }
        let now = app.clock.now();
        if key
            .last_used_at
            .is_none_or(|used| now.ms_since(used) >= limits::TOUCH_MS)
        {
            touch(app, id).await;
        }
        Ok(Some(key))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, (Instant, Arc<ApiKey>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A note for people; a request does not fail for want of it.
async fn touch(app: &App, id: KeyId) {
    let now = app.clock.now();
    let touched = app
        .store
        .transact(Scope::System("key"), move |tx| {
            Box::pin(async move { tx.key_touch(id, now).await })
        })
        .await;
    if let Err(error) = touched {
        tracing::debug!(%error, "when a key was last used could not be noted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_domain::{Timestamp, time::SeededRandom};

    #[test]
    fn a_key_survives_being_shown_and_read() {
        let random = SeededRandom::new(7);
        for at in 0..200 {
            let id = KeyId::new(Timestamp::from_secs(1_700_000_000 + at), &random);
            let secret = random_secret(&random);
            let token = token(id, &secret);
            assert_eq!(token.len(), 4 + 26 + 1 + 43);
            assert_eq!(parse(&token), Some((id, secret.as_str())));
        }
    }

    #[test]
    fn what_is_no_key_is_no_key() {
        let good = token(KeyId::NIL, &random_secret(&SeededRandom::new(1)));
        let cut = &good[..good.len() - 1];
        let long = format!("{good}x");
        for wrong in [
            "",
            "msk_",
            "msk_é",
            cut,
            &long,
            &good.replace("msk_", "key_"),
            &good.to_uppercase(),
            "sk_live_x",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_of_many_bytes_of_anything_does_not_panic() {
        for text in [
            "msk_ääääääääääääääääääääääääää_x",
            "msk_00000000000000000000000000",
            "msk_\u{1F600}",
        ] {
            assert_eq!(parse(text), None);
        }
    }
}
