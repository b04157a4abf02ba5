//! Threads that read, each with a connection of its own, and one bounded queue in front of them.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use mainstay_domain::{StoreResult, store::Erased};
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{
    error::map_error,
    member::{Member, Message},
    open::{Deadline, open_reader},
};

/// Transactions that may wait for a thread.
const WAITING_MAX: usize = 1_024;

pub(super) struct Readers {
    pub(super) queue: mpsc::Sender<Message>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

/// Starts the threads.
pub(super) fn start(
    path: &Path,
    count: usize,
    cache_kib: u32,
    limit: Duration,
) -> StoreResult<Readers> {
    let (queue, waiting) = mpsc::channel(WAITING_MAX);
    let waiting = Arc::new(Mutex::new(waiting));
    let threads = (0..count).map(|_| {
        let mut connection = open_reader(path, cache_kib)?;
        let deadline = Deadline::watch(&mut connection)?;
        let waiting = Arc::clone(&waiting);
        super::thread("mainstay-reader", move || {
            run(&mut connection, &deadline, &waiting, limit);
        })
    });
    let threads = threads.collect::<StoreResult<_>>()?;
    Ok(Readers { queue, threads })
}

fn run(
    connection: &mut Connection,
    deadline: &Deadline,
    waiting: &Mutex<mpsc::Receiver<Message>>,
    limit: Duration,
) {
    loop {
        let message = {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.blocking_recv()
        };
        match message {
            Some(Message::Run(member)) if member.abandoned() => {}
            Some(Message::Run(member)) => {
                deadline.set(limit);
                let result = snapshot(connection, deadline, &member);
                deadline.clear();
                member.answer(result);
            }
            Some(Message::Close(_)) | None => return,
        }
    }
}

fn snapshot(
    connection: &mut Connection,
    deadline: &Deadline,
    member: &Member,
) -> StoreResult<Erased> {
    statement(connection, "BEGIN")?;
    let result = member.run(connection, deadline);
    if !connection.is_autocommit() {
        statement(connection, "ROLLBACK")?;
    }
    result
}

fn statement(connection: &Connection, text: &'static str) -> StoreResult<()> {
    let mut statement = connection.prepare_cached(text).map_err(map_error)?;
    statement.execute([]).map(|_| ()).map_err(map_error)
}
