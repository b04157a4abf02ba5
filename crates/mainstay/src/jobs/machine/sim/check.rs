//! What must hold after every step, and at the end.

use mainstay_domain::jobs::{DueKey, JobRef, Outcome, QueueNumber};

use super::{
    super::{
        Action, Runs,
        held::{Doubt, Slot, Stage, due_key},
    },
    model::{Row, position},
    world::{World, is_shut, limits},
};

/// After each step of the owner.
pub(super) fn step(world: &World) {
    let found = position(world.owner.machine.news.cursor());
    for job in &world.model.open {
        let row = &world.model.jobs[job];
        assert!(in_sight(world, row, found), "out of sight: {row:?}");
    }
    limits_hold(world);
    memory_is_bounded(world);
}

/// Before each action of any owner.
pub(super) fn action(world: &World, epoch: i64, action: &Action) {
    if epoch != world.owner.epoch {
        return;
    }
    match action {
        Action::Run(start) => {
            let running = &world.owner.running;
            assert!(
                !running.contains_key(&start.job),
                "{} runs already",
                start.job
            );
        }
        Action::Start { starts, .. } => {
            for start in starts {
                let again = world.starts_sent.contains(&(start.job, start.attempt));
                assert!(
                    again || !is_shut(&world.owner, start.queue),
                    "nothing starts behind an open breaker"
                );
            }
        }
        _ => {}
    }
}

/// At the end: what the machine has counted is what the rows say.
pub(super) fn counters(world: &World) {
    for queue in &world.owner.machine.snapshot().queues {
        let truth = world.model.counted(queue.queue);
        assert_eq!(queue.tally, truth, "the counters of queue {}", queue.queue);
        let shown = (
            queue.waiting,
            queue.running,
            queue.retrying,
            queue.scheduled,
        );
        assert_eq!(
            shown,
            (0, 0, 0, 0),
            "nothing is left in queue {}",
            queue.queue
        );
    }
    let effects = world.model.effects.len();
    let done = world
        .model
        .jobs
        .values()
        .filter(|row| row.job.queue == 4 && succeeded(row))
        .count();
    assert_eq!(
        effects, done,
        "an effect for every built-in job that is done, and for no other"
    );
}

/// The jobs that have not ended, for the message of a failure.
pub(super) fn unfinished(world: &World) -> Vec<(JobRef, String)> {
    let rows = world.model.open.iter().map(|job| &world.model.jobs[job]);
    rows.map(|row| {
        let job = &row.job;
        let held = world.owner.machine.held.get(&job.job);
        (*job, format!("{:?}; {held:?}", row.last()))
    })
    .collect()
}

fn succeeded(row: &Row) -> bool {
    row.last()
        .is_some_and(|last| last.outcome == Outcome::Succeeded)
}

fn in_sight(world: &World, row: &Row, found: usize) -> bool {
    let machine = &world.owner.machine;
    let job = row.job.job;
    let to_be_found = row.found_at >= found;
    to_be_found
        || machine.held.contains_key(&job)
        || left_in_store(world, row)
        || machine.inspections.all().any(|at| at.job == job)
}

fn left_in_store(world: &World, row: &Row) -> bool {
    let job = &row.job;
    let Some(queue) = world.owner.machine.queues.get(&job.queue) else {
        return false;
    };
    let sunk_to =
        |beyond: Option<DueKey>, job: &JobRef| beyond.is_some_and(|beyond| beyond <= due_key(job));
    if let Some(next) = row.next() {
        return sunk_to(queue.retries.beyond(), &next);
    }
    if job.due.is_some() {
        return sunk_to(queue.delayed.beyond(), job);
    }
    let beyond = queue.lane_beyond(job.band, job.tenant);
    beyond.is_some_and(|beyond| beyond <= job.job)
}

fn limits_hold(world: &World) {
    let machine = &world.owner.machine;
    let mut outbound = 0;
    for (number, queue) in &machine.queues {
        let most = queue
            .settings
            .as_ref()
            .map_or(0, |settings| settings.max_in_flight);
        let places = places(world, *number);
        assert_eq!(
            places.len(),
            queue.in_flight as usize,
            "the places of queue {number} are counted"
        );
        assert!(queue.in_flight <= most, "queue {number} keeps its limit");
        let probes = places.iter().flatten().filter(|slot| slot.probe).count();
        assert!(probes <= 1, "one probe at a time");
        if queue.runs() == Some(Runs::Outbound) {
            outbound += places.len();
        }
    }
    let open = machine.held.values().filter(|held| held.outbound).count();
    assert_eq!(
        open, machine.dispatch.outbound_open,
        "attempts that leave are counted"
    );
    assert!(outbound <= limits().outbound_max);
}

/// The attempts that take up a place of the queue's.
fn places(world: &World, queue: QueueNumber) -> Vec<Option<Slot>> {
    let held = world.owner.machine.held.values();
    held.filter(|held| held.job.queue == queue)
        .filter_map(|held| match &held.stage {
            Stage::Starting(slot)
            | Stage::Running(slot)
            | Stage::Inspecting(Doubt::Start(slot)) => Some(Some(*slot)),
            Stage::Batched => Some(None),
            _ => None,
        })
        .collect()
}

fn memory_is_bounded(world: &World) {
    let machine = &world.owner.machine;
    let limits = limits();
    let waiting = |held: &&super::super::held::Held| matches!(held.stage, Stage::Waiting);
    let waiting = machine.held.values().filter(waiting).count();
    // Five queues with two bands of three tenants, and two timetables each.
    let windows = 5 * (2 * 3 + 2);
    assert!(
        waiting <= limits.held_max + windows * limits.reserve,
        "{waiting} wait in memory"
    );
    for queue in machine.queues.values() {
        assert!(queue.due_len() <= limits.window + limits.reserve);
    }
}
