//! Deliberate faults, to see that the simulator finds them. Outside of tests there are none, and asking costs nothing.

/// A fault that tests can plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// One more may run of a queue than its limit says.
    PlaceTooMany,
    /// One more may run of a tenant than its limit says.
    TenantPlaceTooMany,
    /// A tenant's place is not given back.
    PlaceKept,
    /// Built-in jobs do not count towards their tenant's limit.
    BatchUncounted,
    /// Built-in jobs take nothing from the queue's bucket.
    BatchUnpaid,
    /// Nothing is taken from the bucket of a tenant.
    TenantUnpaid,
    /// A new owner begins with full buckets.
    FullAfterRestart,
    /// A new owner does not count what its predecessor's attempts may still take up.
    HeirForgets,
    /// What a predecessor's attempts took up is never free again.
    HeirKeeps,
    /// Nobody wakes a tenant whose time has come.
    TenantOverslept,
    /// Nobody wakes a queue whose time has come.
    QueueOverslept,
    /// A tenant whose place becomes free is not let back into the turns.
    TurnForgotten,
    /// New settings do not reach those who wait.
    SettingsUnheard,
    /// A paused queue runs.
    PauseIgnored,
    /// A queue that is drained runs what comes later as well.
    DrainIgnored,
    /// Due jobs of a tenant that were left in the store are not read when it has room.
    LeftForgotten,
    /// Due jobs that waited while their queue was drained are not read afterwards.
    AsideForgotten,
    /// An attempt costs its tenant nothing.
    Free,
    /// A weight counts the other way round.
    WeightUpsideDown,
    /// What an attempt took is never made good.
    NeverCorrected,
    /// A tenant that was idle is owed all that it did not use.
    IdleSaves,
    /// A breaker that is open lets one through.
    OpenLeaks,
    /// A breaker lets one probe more through than it may.
    ProbeTooMany,
    /// A probe does not give its place back.
    ProbeKept,
    /// Nobody wakes a queue when probes are due.
    ProbeOverslept,
    /// A new owner does not wait for what its predecessor's probes may still do.
    ProbesForgotten,
    /// What is to fail behind an open breaker waits.
    FailsNever,
    /// What a person says of a breaker is not heard.
    ForcedIgnored,
    /// The deadline of a job that comes into memory is not noted: nobody wakes for it.
    DeadlineUnnoticed,
    /// It is not looked at the deadline when a job begins.
    DeadlineUnchecked,
    /// A next try is waited for although the deadline comes before it.
    DeadlineOutwaited,
    /// A worker holds a job beyond its deadline.
    DeadlineLeased,
}

/// Whether this fault is planted.
#[cfg(not(test))]
pub(super) const fn planted(_: Fault) -> bool {
    false
}

#[cfg(test)]
pub(super) use in_tests::{planted, with};

#[cfg(test)]
mod in_tests {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Whether this fault is planted in this thread.
    pub(in super::super) fn planted(fault: Fault) -> bool {
        PLANTED.with(|planted| planted.get() == Some(fault))
    }

    /// Runs something with a fault.
    pub(in super::super) fn with<T>(fault: Fault, run: impl FnOnce() -> T) -> T {
        struct Remove;
        impl Drop for Remove {
            fn drop(&mut self) {
                PLANTED.with(|planted| planted.set(None));
            }
        }
        PLANTED.with(|planted| planted.set(Some(fault)));
        let _remove = Remove;
        run()
    }
}
