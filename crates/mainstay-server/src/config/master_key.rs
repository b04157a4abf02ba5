//! Where master keys come from: a variable, a file or a command. They are never stored, and never shown.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use mainstay_domain::vault::{MasterKey, Vault};

use super::Secret;

/// How long the command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Keys at once: the one in force, and those that are on their way out.
const KEYS_MAX: usize = 16;
/// More than that many keys take.
const BYTES_MAX: usize = 16 * 1024;

/// Where master keys come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum MasterKeys {
    /// There are none: nothing is sealed.
    #[default]
    None,
    /// As they are.
    Text(Secret),
    /// From a file.
    File(PathBuf),
    /// What a program and its arguments print.
    Command(Vec<String>),
}

impl MasterKeys {
    /// The keys. One a line, or separated by commas; the first wraps, all unwrap.
    pub(crate) async fn load(&self) -> anyhow::Result<Arc<Vault>> {
        let text = match self {
            Self::None => return Ok(Vault::off()),
            Self::Text(text) => text.0.clone(),
            Self::File(path) => std::fs::read_to_string(path)
                .with_context(|| format!("master_key.file: {}", path.display()))?,
            Self::Command(command) => printed(command).await?,
        };
        Ok(Arc::new(Vault::new(keys(&text)?)))
    }
}

fn keys(text: &str) -> anyhow::Result<Vec<MasterKey>> {
    if text.len() > BYTES_MAX {
        bail!("master_key: at most {KEYS_MAX} keys");
    }
    let mut keys: Vec<MasterKey> = Vec::new();
    let parts = text.split([',', '\n']).map(str::trim);
    for part in parts.filter(|part| !part.is_empty() && !part.starts_with('#')) {
        // The error does not show what stands there.
        let key: MasterKey = part
            .parse()
            .with_context(|| format!("master_key: the {}. key", keys.len() + 1))?;
        if keys.iter().any(|known| known.id() == key.id()) {
            bail!("master_key: the key {} is named twice", key.id());
        }
        keys.push(key);
    }
    if keys.is_empty() || keys.len() > KEYS_MAX {
        bail!(
            "master_key: there must be 1 to {KEYS_MAX} keys; `mainstay vault master-key` makes one"
        );
    }
    Ok(keys)
}

/// What the command prints. Neither that nor its errors go into an error of ours: a key might stand there.
async fn printed(command: &[String]) -> anyhow::Result<String> {
    let Some((program, arguments)) = command.split_first() else {
        bail!("master_key.command: names no program");
    };
    let mut process = tokio::process::Command::new(program);
    process
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true);
    let ran = tokio::time::timeout(COMMAND_TIMEOUT, process.output()).await;
    let ran = ran
        .map_err(|_| anyhow::anyhow!("master_key.command: {program} took more than 30 seconds"))?
        .with_context(|| format!("master_key.command: {program}"))?;
    if !ran.status.success() {
        bail!("master_key.command: {program} failed ({})", ran.status);
    }
    String::from_utf8(ran.stdout)
        .map_err(|_| anyhow::anyhow!("master_key.command: {program} printed no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> String {
        MasterKey::make().expect("there is randomness")
    }

    #[test]
    fn several_keys_can_be_given_and_the_first_is_the_one_that_wraps() {
        let (new, old) = (made(), made());
        let all = keys(&format!("# the new one\n{new}\n\n{old}\n")).expect("two keys");
        let first: MasterKey = new.parse().expect("a key");
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].id(), first.id());
        assert_eq!(keys(&format!("{new},{old}")).expect("two keys").len(), 2);
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        for text in ["", "c2hvcnQ=", "not base64 at all, hush"] {
            let error = keys(text).expect_err("no key");
            assert!(!format!("{error:#}").contains("hush"), "{error:#}");
        }
        let one = made();
        assert!(keys(&format!("{one},{one}")).is_err(), "twice the same");
    }

    #[tokio::test]
    async fn a_command_that_prints_a_key_gives_it() {
        let key = made();
        let command = MasterKeys::Command(vec!["echo".into(), key]);
        assert!(command.load().await.expect("it prints a key").on());
        let failing = MasterKeys::Command(vec!["false".into()]);
        assert!(failing.load().await.is_err());
    }
}
