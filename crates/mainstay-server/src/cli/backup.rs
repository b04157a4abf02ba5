//! `mainstay backup` and `mainstay restore`: the whole database, verified after writing and before use.

use std::path::PathBuf;

use clap::Args;
use mainstay_domain::Clock as _;
use mainstay_store::backup::{self, Manifest};
use serde_json::{Value, json};

use super::{Context, failure::Failure, place::Opened, progress::Bar, table::Fields};
use crate::{
    config::Layer,
    time::{SystemClock, Time},
};

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to write, which must not exist; its manifest stands beside it as FILE.json
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// Replace what the database holds
    #[arg(long)]
    force: bool,
    /// Verify the backup and restore nothing
    #[arg(long, conflicts_with = "force")]
    verify: bool,
}

/// The server may go on running: on both databases what is copied is one snapshot.
pub(super) async fn backup(context: &Context, args: BackupArgs) -> Result<(), Failure> {
    let config = context.config(Layer::default())?;
    let opened = Opened::beside(&config)?;
    let bar = Bar::start(&context.out, "backing up");
    let now = SystemClock.now();
    let manifest = backup::backup(opened.place(), &args.file, now, bar.listener()).await?;
    drop(bar);
    shown(context, &manifest, "written and verified")
}

pub(super) async fn restore(context: &Context, args: RestoreArgs) -> Result<(), Failure> {
    if args.verify {
        return shown(context, &backup::verify(&args.file).await?, "whole");
    }
    let config = context.config(Layer::default())?;
    let opened = Opened::alone(&config)?;
    let bar = Bar::start(&context.out, "restoring");
    let place = opened.place();
    let manifest = backup::restore(place, &args.file, args.force, bar.listener()).await?;
    drop(bar);
    shown(context, &manifest, "restored")?;
    context.out.remark(
        "what is sealed in it needs the master key that it was sealed under; backups never hold it (docs/encryption.md)",
    );
    Ok(())
}

fn shown(context: &Context, manifest: &Manifest, outcome: &str) -> Result<(), Failure> {
    context.show(&as_json(manifest, outcome), |out| {
        let rows: i64 = manifest.counts.values().sum();
        let mut fields = Fields::default();
        fields
            .add("backup", manifest.file.as_str())
            .add("outcome", outcome)
            .add("database", manifest.database.as_str())
            .add("size", indicatif::HumanBytes(manifest.bytes).to_string())
            .add("rows", rows.to_string())
            .add("taken", Time(manifest.taken_at).to_string())
            .add("schema version", manifest.schema_version.to_string())
            .add("sha256", manifest.sha256.as_str());
        out.fields(&fields)
    })
}

fn as_json(manifest: &Manifest, outcome: &str) -> Value {
    json!({
        "outcome": outcome,
        "file": manifest.file,
        "database": manifest.database,
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
        "schema_version": manifest.schema_version,
        "taken_at": Time(manifest.taken_at),
        "rows": manifest.counts,
    })
}
