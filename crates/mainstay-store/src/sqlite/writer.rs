//! The one thread that writes. Bodies run one after the other, each in a savepoint, many in one commit: one wait for
//! the disk is shared by all of them. Answers are released after it.
//!
//! When a whole transaction is lost (SQLite rolls it back by itself when a statement fails for lack of room or is
//! interrupted), the member that lost it is told so and the others run again, each in a transaction of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mainstay_domain::{StoreError, StoreResult, store::Erased};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{
    error::map_error,
    member::{Member, Message, copy},
    open::Deadline,
    wal::Wal,
};

/// The most members of one commit.
const MEMBERS_MAX: usize = 256;
/// No further member joins a commit after this.
const GATHER: Duration = Duration::from_millis(5);

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) deadline: Deadline,
    pub(super) queue: mpsc::Receiver<Message>,
    pub(super) wal: Arc<Wal>,
    /// How long one body may take.
    pub(super) statement_timeout: Duration,
    /// Who waits for the end.
    pub(super) stopping: Vec<oneshot::Sender<()>>,
}

/// How a body ended inside its savepoint.
enum Ended {
    /// It can be committed with the others; a failed one has left nothing behind.
    Kept(StoreResult<Erased>),
    /// It took the whole transaction with it.
    Lost(StoreError),
}

impl Writer {
    /// Works until it is told to stop, or until nobody can ask any more. Gives back the connection and those who wait
    /// for the end.
    pub(super) fn run(mut self) -> (Connection, Vec<oneshot::Sender<()>>) {
        while let Some(message) = self.queue.blocking_recv() {
            match message {
                Message::Run(member) => self.batch(member),
                Message::Close(done) => self.stop(done),
            }
        }
        (self.connection, self.stopping)
    }

    /// Takes nothing new; what is queued was accepted and is finished.
    fn stop(&mut self, done: oneshot::Sender<()>) {
        self.stopping.push(done);
        self.queue.close();
    }

    fn batch(&mut self, first: Member) {
        self.wal.wait_for_room();
        if let Err(error) = self.statement("BEGIN IMMEDIATE") {
            return first.answer(Err(error));
        }
        let started = Instant::now();
        let mut ran = Vec::with_capacity(16);
        let mut next = Some(first);
        while let Some(member) = next {
            if member.abandoned() {
                next = self.following(&ran, started);
                continue;
            }
            match self.savepoint(&member) {
                Ended::Kept(result) => ran.push((member, result)),
                Ended::Lost(error) => {
                    member.answer(Err(error));
                    return self.again(ran);
                }
            }
            next = self.following(&ran, started);
        }
        self.commit(ran);
    }

    /// The next member that joins this commit, if there is one waiting and time left.
    fn following(
        &mut self,
        ran: &[(Member, StoreResult<Erased>)],
        started: Instant,
    ) -> Option<Member> {
        if ran.len() >= MEMBERS_MAX || started.elapsed() >= GATHER {
            return None;
        }
        match self.queue.try_recv().ok()? {
            Message::Run(member) => Some(member),
            Message::Close(done) => {
                self.stop(done);
                None
            }
        }
    }

    fn savepoint(&mut self, member: &Member) -> Ended {
        if let Err(error) = self.statement("SAVEPOINT member") {
            self.rollback();
            return Ended::Lost(error);
        }
        self.deadline.set(self.statement_timeout);
        let result = member.run(&mut self.connection, &self.deadline);
        self.deadline.clear();
        if self.connection.is_autocommit() {
            return Ended::Lost(result.err().unwrap_or_else(lost));
        }
        let undone = match &result {
            Ok(_) => Ok(()),
            Err(_) => self.statement("ROLLBACK TO member"),
        };
        match undone.and_then(|()| self.statement("RELEASE member")) {
            Ok(()) => Ended::Kept(result),
            Err(error) => {
                self.rollback();
                Ended::Lost(error)
            }
        }
    }

    fn commit(&mut self, ran: Vec<(Member, StoreResult<Erased>)>) {
        let Err(error) = self.statement("COMMIT") else {
            for (member, result) in ran {
                member.answer(result);
            }
            return;
        };
        self.rollback();
        tracing::warn!(%error, members = ran.len(), "a commit failed");
        if ran.len() > 1 && !matches!(error, StoreError::Unavailable(_) | StoreError::Full) {
            // One of them is to blame (a deferred constraint): find out which.
            return self.again(ran);
        }
        for (member, _) in ran {
            member.answer(Err(copy(&error)));
        }
    }

    /// Runs members again, each in a transaction of its own.
    fn again(&mut self, ran: Vec<(Member, StoreResult<Erased>)>) {
        for (member, _) in ran {
            if let Err(error) = self.statement("BEGIN IMMEDIATE") {
                member.answer(Err(error));
                continue;
            }
            match self.savepoint(&member) {
                Ended::Kept(result) => self.commit(vec![(member, result)]),
                Ended::Lost(error) => member.answer(Err(error)),
            }
        }
    }

    fn statement(&self, text: &'static str) -> StoreResult<()> {
        let mut statement = self.connection.prepare_cached(text).map_err(map_error)?;
        statement.execute([]).map(|_| ()).map_err(map_error)
    }

    fn rollback(&self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.statement("ROLLBACK") {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable("the transaction was rolled back by the database".into())
}
