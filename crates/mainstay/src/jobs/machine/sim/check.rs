//! What must hold after every step, and at the end.

use std::collections::BTreeMap;

use mainstay_domain::{
    JobId, TenantId,
    jobs::{
        DueKey, Flow, JobRef, Loss, Outcome, QueueNumber, breaker::Dependency,
        loss::LOST_REPEATEDLY,
    },
};

use super::{
    super::{
        Action, Phase, Runs,
        fail_fast::BREAKER_OPEN,
        held::{Doubt, Slot, Stage, due_key},
        queue::Timetable,
    },
    model::{Row, position},
    plan::{BUILTIN, DEATHS_MAX},
    world::{PROBES, WORKERS, World, is_shared, is_shut, limits, limits_of},
};

/// After each step of the owner.
pub(super) fn step(world: &World) {
    let found = position(world.owner.machine.news.cursor());
    for job in &world.model.open {
        let row = &world.model.jobs[job];
        let waits = world.model.lines.waits(*job);
        assert!(
            waits || in_sight(world, row, found),
            "out of sight: {row:?}"
        );
    }
    limits_hold(world);
    breakers_hold(world);
    what_may_run_runs(world);
    suspects_run_one_at_a_time(world);
    what_is_late_ends(world);
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
            in_time(world, start.job);
        }
        Action::Start { starts, .. } => {
            for start in starts {
                let again = world.starts_sent.contains(&(start.job, start.attempt));
                assert!(
                    again || !is_shut(&world.owner, start.queue),
                    "nothing starts behind an open breaker"
                );
                assert!(
                    again || keeps_limit(world, start.queue),
                    "nothing starts beyond a limit"
                );
            }
        }
        _ => {}
    }
}

/// When a job begins: its queue runs, and if that is drained, the job was there before.
pub(super) fn begins(world: &World, job: JobId, queue: QueueNumber) {
    let queue = world.owner.machine.queues.get(&queue);
    let Some(settings) = queue.and_then(|queue| queue.settings.as_ref()) else {
        panic!("{job} begins in a queue of which nothing is known");
    };
    assert!(
        settings.flow != Flow::Paused,
        "{job} begins in a paused queue"
    );
    assert!(
        settings.held_from.is_none_or(|from| job < from),
        "{job} begins in a queue that is drained"
    );
}

/// When a job begins, or a recorded start is carried out: its deadline has not come.
pub(super) fn in_time(world: &World, job: JobId) {
    let machine = &world.owner.machine;
    let deadline = machine.held.get(&job).and_then(|held| held.job.deadline);
    let now = world.now_of(world.owner.epoch);
    assert!(
        deadline.is_none_or(|at| now < at),
        "{job} begins at {now:?}, after its deadline {deadline:?}"
    );
}

/// Nothing in memory waits beyond its deadline, nor for a time that comes after it, and no worker holds a job beyond it.
fn what_is_late_ends(world: &World) {
    let machine = &world.owner.machine;
    let now = world.now_of(world.owner.epoch);
    let able = machine.phase == Phase::Running && machine.outage.until().is_none();
    if !able || !machine.all_lost_are_known() || !machine.settling.is_quiet() {
        return;
    }
    for held in machine.held.values() {
        let Some(deadline) = held.job.deadline else {
            continue;
        };
        let waits = matches!(held.stage, Stage::Waiting);
        assert!(!waits || now < deadline, "{held:?} waits at {now:?}");
        let late = held.job.due.is_some_and(|due| due >= deadline);
        assert!(
            !(waits && late && held.job.attempt > 0) || turns_late(world, &held.job),
            "{held:?} waits for a time after its deadline"
        );
        let leased = machine.workers.leased(held.job.job).is_some();
        assert!(!leased || now < deadline, "{held:?} is in hand at {now:?}");
    }
    assert!(machine.deadlines.len() <= machine.held.len());
}

/// Whether its turn came so late, or a person ran it again.
fn turns_late(world: &World, job: &JobRef) -> bool {
    let last = world.model.jobs[&job.job].last();
    last.is_some_and(|last| last.outcome == Outcome::Requeued)
}

/// When a job begins: in no window have more begun than the rates allow, over however many owners.
pub(super) fn rates(world: &World, queue: QueueNumber, tenant: TenantId) {
    let limits = limits_of(queue);
    let Some((now, ..)) = world.begun.last().filter(|_| world.plan.exact) else {
        return;
    };
    let of_queue = world.begun.iter().filter(|(_, other, _)| *other == queue);
    let of_tenant = of_queue.clone().filter(|(.., other)| *other == tenant);
    let queue_times: Vec<i64> = of_queue.map(|(at, ..)| *at).collect();
    let tenant_times: Vec<i64> = of_tenant.map(|(at, ..)| *at).collect();
    for (rate, times) in [
        (limits.rate, queue_times),
        (limits.tenant_rate, tenant_times),
    ] {
        let Some(rate) = rate else { continue };
        for (at, first) in times.iter().enumerate() {
            let began = (times.len() - at) as i64;
            let more = (now - first) * i64::from(rate.count) / (rate.per_ms * 1_000);
            assert!(
                began <= i64::from(rate.burst) + more,
                "{began} of queue {queue} began in {} µs, of {tenant}",
                now - first
            );
        }
    }
}

/// When an attempt is sent: wherever they are carried out, and whoever asked for it, there are not more than a team wants.
pub(super) fn outside(world: &World, queue: QueueNumber) {
    if !world.plan.exact {
        return;
    }
    let limits = limits_of(queue);
    let mut of: BTreeMap<TenantId, u32> = BTreeMap::new();
    for start in world.outside.values().filter(|start| start.queue == queue) {
        *of.entry(start.tenant).or_default() += 1;
    }
    let most = limits.max_in_flight.unwrap_or(u32::MAX);
    let all: u32 = of.values().sum();
    assert!(all <= most, "{all} of queue {queue} are under way outside");
    let most = limits.tenant_max_in_flight.unwrap_or(u32::MAX);
    for (tenant, count) in of {
        assert!(count <= most, "{count} of {tenant} are under way outside");
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
        .filter(|row| row.job.queue == BUILTIN && succeeded(row))
        .count();
    assert_eq!(
        effects, done,
        "an effect for every built-in job that is done, and for no other"
    );
}

/// At the end: what kills was isolated in time, and what did not was not blamed.
pub(super) fn verdicts(world: &World) {
    for (job, poison) in &world.poison {
        let row = &world.model.jobs[job];
        let last = row.last().map(|last| (last.outcome, last.code.as_deref()));
        let isolated = Some((Outcome::Dead, Some(LOST_REPEATEDLY)));
        let most = match (world.plan.strict, row.job.queue == BUILTIN) {
            // Two losses in company, two alone.
            (true, false) => 4,
            // The same, and one that nobody recorded; each owner takes turns anew.
            (true, true) => 6,
            (false, _) => DEATHS_MAX,
        };
        let failed_fast = row.last().and_then(|last| last.code.as_deref()) == Some(BREAKER_OPEN);
        if world.plan.strict && poison.deaths > 0 && !failed_fast {
            assert_eq!(last, isolated, "what kills is isolated: {row:?}");
        }
        assert!(poison.deaths <= most, "{} deaths by {row:?}", poison.deaths);
    }
    let innocent = world.model.jobs.values();
    for row in innocent.filter(|row| !world.poison.contains_key(&row.job.job)) {
        for attempt in row.attempts() {
            let code = attempt.code.as_deref();
            let lost = Loss::of(code) != Loss::None && attempt.outcome == Outcome::Dead;
            let blamed = code == Some(LOST_REPEATEDLY);
            assert!(
                !(blamed && world.plan.strict),
                "who was only there is not blamed: {row:?}"
            );
            assert!(
                !(lost && row.job.queue == BUILTIN),
                "a loss is no try of a built-in job: {row:?}"
            );
        }
    }
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
        || turn_is_yet_to_be_told(world, row)
        || machine.inspections.all().any(|at| at.job == job)
}

/// The outcome that gave it its turn is committed, and its owner has not heard of it yet.
fn turn_is_yet_to_be_told(world: &World, row: &Row) -> bool {
    let by = world.model.lines.turned_by.get(&row.job.job);
    by.is_some_and(|by| world.owner.machine.held.contains_key(by))
}

fn left_in_store(world: &World, row: &Row) -> bool {
    let job = &row.job;
    let Some(queue) = world.owner.machine.queues.get(&job.queue) else {
        return false;
    };
    let sunk_to =
        |beyond: Option<DueKey>, job: &JobRef| beyond.is_some_and(|beyond| beyond <= due_key(job));
    let left = |timetable| queue.due.left_from(job.tenant, timetable);
    if let Some(next) = row.next() {
        return sunk_to(queue.retries.beyond(), &next) || sunk_to(left(Timetable::Retries), &next);
    }
    if job.due.is_some() {
        return sunk_to(queue.delayed.beyond(), job) || sunk_to(left(Timetable::Delayed), job);
    }
    let beyond = queue.lane_beyond(job.band, job.tenant);
    beyond.is_some_and(|beyond| beyond <= job.job)
}

fn limits_hold(world: &World) {
    let machine = &world.owner.machine;
    let mut outbound = 0;
    let (by_poll, by_job) = machine.workers.promises();
    assert_eq!(by_poll, by_job, "promises are kept on both sides");
    for (number, queue) in &machine.queues {
        let most = queue
            .settings
            .as_ref()
            .map_or(0, |settings| settings.max_in_flight);
        let places = places(world, *number);
        let left = match *number {
            WORKERS => machine.left_in(WORKERS),
            _ => 0,
        };
        assert_eq!(
            places.len() + left,
            queue.in_flight as usize,
            "the places of queue {number} are counted"
        );
        // What is in the hands of workers stays there: a start that a dead owner had sent comes on top, late.
        assert!(
            queue.in_flight <= most || *number == WORKERS,
            "queue {number} keeps its limit"
        );
        let most = limits_of(*number).tenant_max_in_flight;
        for (tenant, count) in tenants_places(world, *number) {
            assert!(
                most.is_none_or(|most| count <= most),
                "{count} of {tenant} in queue {number}"
            );
            assert!(
                queue.shares.in_flight(tenant) == count || left > 0,
                "the places of {tenant} in queue {number} are counted"
            );
        }
        if queue.runs() == Some(Runs::Outbound) {
            outbound += places.len();
        }
    }
    let open = |runs| {
        let open = machine.held.values();
        open.filter(|held| held.open == Some(runs)).count()
    };
    let counted = &machine.dispatch;
    assert_eq!(
        (
            open(Runs::Outbound),
            open(Runs::Builtin),
            open(Runs::Worker)
        ),
        (
            counted.outbound_open,
            counted.builtin_open,
            counted.worker_open
        ),
        "attempts whose start is recorded are counted"
    );
    assert!(outbound <= limits().outbound_max);
}

/// No more probes than a breaker allows, of all the queues behind it, and each is counted.
fn breakers_hold(world: &World) {
    let machine = &world.owner.machine;
    let mut probes: BTreeMap<&Dependency, usize> = BTreeMap::new();
    for (number, queue) in &machine.queues {
        let places = places(world, *number);
        let count = places.iter().flatten().filter(|slot| slot.probe).count();
        if let Some(dependency) = queue.dependency() {
            *probes.entry(dependency).or_default() += count;
        }
    }
    for (dependency, count) in probes {
        let Some(guard) = machine.guards.get(dependency) else {
            continue;
        };
        assert!(count <= PROBES as usize, "{count} probes of {dependency:?}");
        assert_eq!(count, guard.probing(), "the probes are counted");
    }
}

/// When a probe is sent: wherever they are carried out, and whoever asked for it, there are not more than allowed.
pub(super) fn probes_outside(world: &World) {
    if !world.plan.exact {
        return;
    }
    let mut probes: BTreeMap<bool, u32> = BTreeMap::new();
    let outside = world.outside.iter();
    for (_, start) in outside.filter(|(key, _)| world.probes.contains(*key)) {
        *probes.entry(is_shared(start.queue)).or_default() += 1;
    }
    let most = probes.values().max().copied().unwrap_or_default();
    assert!(most <= PROBES, "{most} probes are under way outside");
}

fn keeps_limit(world: &World, queue: QueueNumber) -> bool {
    let queue = world.owner.machine.queues.get(&queue);
    queue.is_some_and(|queue| {
        let settings = queue.settings.as_ref();
        settings.is_some_and(|settings| queue.in_flight <= settings.max_in_flight)
    })
}

/// The attempts that take up a place of the queue's.
fn places(world: &World, queue: QueueNumber) -> Vec<Option<Slot>> {
    let held = world.owner.machine.held.values();
    held.filter(|held| held.job.queue == queue)
        .filter_map(|held| match &held.stage {
            Stage::Starting(slot)
            | Stage::Running(slot)
            | Stage::Inspecting(Doubt::Start(slot)) => Some(Some(*slot)),
            Stage::Batched(_) | Stage::Inspecting(Doubt::Batch(Some(_))) => Some(None),
            _ => None,
        })
        .collect()
}

/// How many places each tenant takes up.
fn tenants_places(world: &World, queue: QueueNumber) -> BTreeMap<TenantId, u32> {
    let mut of = BTreeMap::new();
    let held = world.owner.machine.held.values();
    for held in held.filter(|held| held.job.queue == queue && takes_a_place(&held.stage)) {
        *of.entry(held.job.tenant).or_default() += 1;
    }
    of
}

fn takes_a_place(stage: &Stage) -> bool {
    matches!(
        stage,
        Stage::Starting(_)
            | Stage::Running(_)
            | Stage::Batched(_)
            | Stage::Inspecting(Doubt::Start(_) | Doubt::Batch(Some(_)))
    )
}

/// Nothing that may run waits while there is room for it: whoever sleeps has nothing to do.
fn what_may_run_runs(world: &World) {
    let machine = &world.owner.machine;
    let stages = || machine.held.values().map(|held| &held.stage);
    let starting = stages().any(|stage| matches!(stage, Stage::Starting(_)));
    let batched = stages().any(|stage| matches!(stage, Stage::Batched(_)));
    let able = machine.phase == Phase::Running && machine.outage.until().is_none();
    // What is under way makes it look again.
    if !able || starting || batched || !machine.sequences.is_quiet() || machine.caution.records() {
        return;
    }
    for (number, queue) in &machine.queues {
        let Some(settings) = &queue.settings else {
            continue;
        };
        let full = settings.runs == Runs::Outbound
            && machine.dispatch.outbound_open >= limits().outbound_max;
        // Nothing of workers is started that nobody waits for, nor before it is known what is in hand.
        let unwanted = settings.runs == Runs::Worker
            && (queue.wanted == 0
                || machine.dispatch.worker_open >= limits().workers_max
                || !machine.all_lost_are_known());
        let waits = unwanted || (queue.inheriting && settings.counts_over_restarts());
        let guard = machine.guard_of(*number);
        let now = world.now_of(world.owner.epoch);
        let shut = guard.is_some_and(|guard| guard.allowance(now) == Some(0));
        let runs = settings.enabled && settings.flow != Flow::Paused;
        let fails = guard.is_some_and(|guard| guard.fails(now));
        if fails && runs && machine.settling.is_quiet() {
            let mut held = machine.held.values();
            let waits = held.find(|held| {
                let (job, waits) = (&held.job, matches!(held.stage, Stage::Waiting));
                let fresh = job.tries == 0 && !job.loss.is_suspect() && job.due.is_none();
                let held_back = settings.held_from.is_some_and(|from| job.job >= from);
                // One of a tenant at its limit could not begin either.
                let taken = tenants_places(world, *number);
                let taken = taken.get(&job.tenant).copied().unwrap_or_default()
                    + queue.shares.inherited(job.tenant);
                let most = settings.limits.tenant_max_in_flight.unwrap_or(u32::MAX);
                let may = taken < most && settings.limits.tenant_rate.is_none();
                waits && job.queue == *number && fresh && !held_back && may
            });
            assert!(waits.is_none(), "{waits:?} waits where it is to fail");
        }
        let room = queue.in_flight + queue.inherited_len() < settings.max_in_flight;
        if full
            || waits
            || shut
            || !runs
            || !room
            || !queue.rate_lets(world.now_of(world.owner.epoch))
        {
            continue;
        }
        let places = tenants_places(world, *number);
        for held in machine.held.values() {
            let job = &held.job;
            let due = job
                .due
                .is_none_or(|due| due <= world.now_of(world.owner.epoch));
            let first = job.tries == 0 && !job.loss.is_suspect();
            let waits = matches!(held.stage, Stage::Waiting) && job.queue == *number;
            let held_back = settings.held_from.is_some_and(|from| job.job >= from);
            let taken = places.get(&job.tenant).copied().unwrap_or_default()
                + queue.shares.inherited(job.tenant);
            let most = settings.limits.tenant_max_in_flight.unwrap_or(u32::MAX);
            let may = taken < most
                && queue.shares.rate_lets(
                    job.tenant,
                    world.now_of(world.owner.epoch),
                    &settings.limits,
                );
            assert!(
                !(waits && due && first && may && !held_back),
                "{held:?} waits while there is room"
            );
        }
    }
}

/// But for one that has run for long.
fn suspects_run_one_at_a_time(world: &World) {
    if world.plan.clock_jumps {
        return;
    }
    let machine = &world.owner.machine;
    let long_ago = world
        .now_of(world.owner.epoch)
        .plus_ms(-limits().suspect_ms);
    let running = machine.held.values().filter(|held| {
        let open = held.open.is_some() && held.job.loss.is_suspect();
        open && held.open_start().is_some_and(|at| at > long_ago)
    });
    let running: Vec<_> = running.collect();
    assert!(
        running.len() <= 1,
        "suspects run one at a time: {running:?}"
    );
}

fn memory_is_bounded(world: &World) {
    let machine = &world.owner.machine;
    let limits = limits();
    let waiting = |held: &&super::super::held::Held| matches!(held.stage, Stage::Waiting);
    let waiting = machine.held.values().filter(waiting).count();
    // Six queues with two bands of three tenants and two timetables each, and what three tenants have that is due.
    let windows = 6 * (2 * 3 + 2 + 3);
    assert!(
        waiting <= limits.held_max + windows * limits.reserve,
        "{waiting} wait in memory"
    );
    let suspects = machine.held.values();
    let suspects = suspects.filter(|held| held.job.loss.is_suspect()).count();
    for queue in machine.queues.values() {
        assert!(queue.timed_len() <= limits.window / 2 + limits.reserve);
        // Half of the places and the reserves of three tenants, and suspects, of which there are few.
        let due = queue.due.len();
        assert!(
            due <= limits.window / 2 + 3 * limits.reserve + suspects,
            "{due} are due"
        );
    }
}
