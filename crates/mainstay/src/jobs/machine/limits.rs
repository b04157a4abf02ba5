//! The engine's bounds. Nothing in the machine grows beyond them.

/// How much the machine holds, asks for and lets run at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Jobs of one window that wait in memory.
    pub window: usize,
    /// Jobs that a window may keep even when memory is full, so that a large backlog starves nobody.
    pub reserve: usize,
    /// Jobs in memory, reserves excepted.
    pub held_max: usize,
    /// Jobs that one look at the store's news brings.
    pub discover_batch: usize,
    /// Jobs that one refill brings.
    pub refill_batch: usize,
    /// Refills under way at once.
    pub refills_max: usize,
    /// Built-in jobs in one transaction.
    pub batch_max: usize,
    /// Transactions of built-in jobs under way at once.
    pub batches_max: usize,
    /// Starts recorded in one transaction.
    pub starts_max: usize,
    /// Attempts that leave the process, from their start until their outcome is recorded.
    pub outbound_max: usize,
    /// Attempts of workers, from their start until their outcome is recorded.
    pub workers_max: usize,
    /// Outcomes recorded in one transaction.
    pub settle_batch: usize,
    /// Transactions of outcomes under way at once.
    pub settles_max: usize,
    /// Jobs looked up in one transaction.
    pub inspect_batch: usize,
    /// Jobs that wait to be looked up; above it the machine looks for no more news.
    pub inspect_max: usize,
    /// Attempts without an outcome that began longer ago are named in the checkpoint, in milliseconds.
    pub long_ms: i64,
    /// How many are named at most.
    pub long_max: usize,
    /// Look at the store at least this often, in milliseconds: wakes can be lost.
    pub poll_ms: i64,
    /// Write a checkpoint this often while anything changes, in milliseconds.
    pub checkpoint_ms: i64,
    /// The first pause after the store failed, in milliseconds. It doubles up to `backoff_max_ms`.
    pub backoff_ms: i64,
    /// The longest pause after the store failed, in milliseconds.
    pub backoff_max_ms: i64,
    /// An owner that took over from a dead one lives for so long before it runs a suspect, and a suspect that has run for
    /// so long keeps the next from starting no more, in milliseconds.
    pub suspect_ms: i64,
    /// An owner that has lived for so long has nothing to do with deaths before it, in milliseconds.
    pub calm_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window: 4_000,
            reserve: 16,
            held_max: 200_000,
            discover_batch: 5_000,
            refill_batch: 2_000,
            refills_max: 4,
            batch_max: 500,
            batches_max: 3,
            starts_max: 500,
            outbound_max: 1_024,
            workers_max: 20_000,
            settle_batch: 500,
            settles_max: 2,
            inspect_batch: 100,
            inspect_max: 1_000,
            long_ms: 60_000,
            long_max: 1_000,
            poll_ms: 1_000,
            checkpoint_ms: 2_000,
            backoff_ms: 50,
            backoff_max_ms: 2_000,
            suspect_ms: 5_000,
            calm_ms: 600_000,
        }
    }
}
