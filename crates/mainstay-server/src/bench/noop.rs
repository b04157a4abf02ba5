//! `mainstay bench noop`: an engine in a process of its own that carries out the jobs that wait in a database, for
//! `make bench-peers`. Like the programs of other queues there it says when it is ready, begins when it is told to, and
//! tells how far it is: lines on its standard output, words on its standard input.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use mainstay::{Mainstay, jobs::NOOP_QUEUE};
use mainstay_domain::{Scope, StoreExt, jobs::QueueNumber};

use super::{
    Bench,
    node::{self, NoWayOut},
    say,
};

/// How often it is looked at how far the engine is, which tells it four times a second.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs until it is told to stop.
pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = node::open(bench, folder.path()).await?;
    let queue = store
        .transact(Scope::System("bench"), |tx| {
            Box::pin(async move { tx.queue_ensure(NOOP_QUEUE).await })
        })
        .await?;
    say(r#"{"ready":true}"#);
    word("go").await?;
    let node = node::engine(store, Arc::new(NoWayOut)).await?;
    tokio::select! {
        told = word("stop") => told?,
        () = tell(&node, queue) => {}
    }
    node.stop().await;
    Ok(())
}

/// Says how many jobs are done, whenever there are more. Of several engines only the one that has the jobs has anything
/// to say.
async fn tell(node: &Mainstay, queue: QueueNumber) {
    let mut told = 0;
    loop {
        let snapshot = node.engine.snapshot();
        let done = snapshot.queue(queue).map_or(0, |queue| queue.tally.done);
        if done > told {
            told = done;
            say(&format!(r#"{{"handled":{done}}}"#));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits for a word; the end of the input is an error, since whoever would say it is gone.
async fn word(wanted: &'static str) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        std::io::stdin().read_line(&mut said)?;
        ensure!(said.trim() == wanted, "{wanted} was expected, not {said:?}");
        Ok(())
    })
    .await?
}
