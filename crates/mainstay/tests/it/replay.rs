//! Replays: a plan that comes true, jobs at a rate, and an end that nothing on the way can spoil.

use std::{collections::HashMap, sync::Arc};

use mainstay::{
    billing,
    intake::{
        BuiltinQueues,
        replay::{self, DryOutcome, DryRun, Plan, Prepared, Replays, Request, Wish, Wished},
    },
    jobs::{BuiltinHandlers, Handler},
};
use mainstay_domain::{
    BindingId, Category, Clock, EndpointId, EventId, ReplayId, Scope, Store, StoreExt, TenantId,
    billing::BillingEvent,
    intake::{
        EventFilter, EventStatus,
        replay::{Replay, ReplayFilter, ReplayState, ReplayTarget},
    },
    jobs::{Attempt, Endpoint, Job, JobFilter, JobState, Outcome},
};
use mainstay_testkit::{FailingStore, on_both};

use crate::world::{World, insert_tenant};

const SYSTEM: Scope = Scope::System("tests");
/// Every job of a replay, whose, and of which event; twice the same is twice made.
const MADE: &str = "SELECT count(*) FROM (
    SELECT DISTINCT event_id, binding_id, replay_id FROM job WHERE band = 2) AS made";
const JOBS: &str = "SELECT count(*) FROM job WHERE band = 2";

/// A world where replays run.
struct Replaying {
    world: World,
    builtin: Arc<BuiltinQueues>,
    replays: Replays,
}

impl Replaying {
    async fn new(store: Arc<dyn Store>) -> Self {
        let world = World::new(store).await;
        let queue = world.store.transact(SYSTEM, |tx| {
            Box::pin(async move { tx.queue_ensure(billing::QUEUE).await })
        });
        let queue = queue.await.expect("there is one");
        let builtin = Arc::new(HashMap::from([(billing::RECORD.to_owned(), queue)]));
        let replays = Self::another(&world, &world.store, &builtin);
        Self {
            world,
            builtin,
            replays,
        }
    }

    /// Another node that takes steps.
    fn another(world: &World, store: &Arc<dyn Store>, builtin: &Arc<BuiltinQueues>) -> Replays {
        let (store, clock) = (Arc::clone(store), Arc::clone(&world.clock));
        let (random, builtin) = (Arc::clone(&world.random), Arc::clone(builtin));
        Replays::new(store, clock, random, builtin)
    }

    /// Events that came in before, a millisecond apart.
    async fn events(&self, count: usize) {
        for number in 0..count {
            self.world.clock.advance_ms(1);
            let event = self.world.event(&format!("evt_{number}"), "invoice.paid");
            assert_eq!(self.world.accept(event).await.status, 200);
        }
    }

    async fn plan(&self, scope: Scope, request: &Request) -> Plan {
        let (store, clock) = (&*self.world.store, &*self.world.clock);
        replay::plan(store, clock, &self.builtin, scope, request.clone())
            .await
            .expect("a plan")
    }

    fn record(&self) -> Arc<dyn Handler> {
        let clock = Arc::clone(&self.world.clock);
        Arc::new(billing::Record { clock })
    }

    async fn dry_run(&self, handlers: &BuiltinHandlers) -> DryRun {
        let (store, clock) = (&*self.world.store, &*self.world.clock);
        let scope = Scope::Tenant(self.world.tenant);
        replay::dry_run(store, clock, &self.builtin, handlers, scope, slowly())
            .await
            .expect("it is tried")
    }

    async fn begin(&self, scope: Scope, request: &Request) -> Replay {
        self.begin_in(&*self.world.store, scope, request)
            .await
            .expect("it begins")
    }

    async fn begin_in(&self, store: &dyn Store, scope: Scope, request: &Request) -> Option<Replay> {
        let (clock, random) = (&*self.world.clock, &*self.world.random);
        let prepared = Prepared::new(store, clock, random, &self.builtin, scope, request.clone());
        let prepared = prepared.await.expect("it is prepared");
        let replay = prepared.replay.clone();
        store
            .transact(scope, move |tx| {
                let prepared = prepared.clone();
                Box::pin(async move { prepared.insert(tx).await })
            })
            .await
            .expect("it is asked for")
            .map(|()| replay)
    }

    /// A second goes by, and what is due is done.
    async fn second(&self) {
        self.world.clock.advance_ms(1_000);
        self.round().await;
    }

    async fn round(&self) {
        self.replays.round(|| true).await.expect("it goes on");
    }

    async fn now(&self, replay: &Replay) -> Replay {
        get(&self.world, SYSTEM, replay.id)
            .await
            .expect("it is there")
    }

    /// Ends every job of replays that has not ended.
    async fn end(&self, outcome: Outcome) {
        let jobs = jobs(&self.world).await;
        let attempts = jobs
            .into_iter()
            .filter(|job| job.replay.is_some() && job.state == JobState::Waiting)
            .map(|job| attempt(&job, outcome))
            .collect::<Vec<_>>();
        let settled = self.world.store.transact(SYSTEM, move |tx| {
            let attempts = attempts.clone();
            Box::pin(async move { tx.attempt_settle(&attempts, None).await })
        });
        settled.await.expect("they end");
    }

    async fn wish(&self, replay: &Replay, wish: Wish) -> Wished {
        let (id, now) = (replay.id, self.world.clock.now());
        let wished = self.world.store.transact(SYSTEM, move |tx| {
            Box::pin(async move { replay::wish(tx, id, wish, now).await })
        });
        wished.await.expect("it is asked")
    }

    async fn made(&self) -> (i64, i64) {
        (self.world.count(JOBS).await, self.world.count(MADE).await)
    }

    /// Seconds go by, and jobs are done, until the replay is over.
    async fn through(&self, replay: &Replay) -> Replay {
        for _ in 0..100 {
            let now = self.now(replay).await;
            if matches!(now.state, ReplayState::Done | ReplayState::Stopped) {
                return now;
            }
            self.end(Outcome::Succeeded).await;
            self.second().await;
        }
        panic!("it does not end");
    }
}

async fn get(world: &World, scope: Scope, id: ReplayId) -> Option<Replay> {
    let found = world.store.read(scope, move |tx| {
        Box::pin(async move { tx.replay_get(id).await })
    });
    found.await.expect("it is read")
}

async fn jobs(world: &World) -> Vec<Job> {
    let found = world.store.read(SYSTEM, |tx| {
        Box::pin(async move { tx.job_list(&JobFilter::default(), 1_000).await })
    });
    found.await.expect("they are listed")
}

fn attempt(job: &Job, outcome: Outcome) -> Attempt {
    let failed = matches!(outcome, Outcome::Failed | Outcome::Dead);
    Attempt {
        tenant: job.tenant,
        job: job.id,
        attempt: 1,
        tries: 1,
        queue: 1,
        outcome,
        started_at: job.created_at,
        finished_at: job.created_at.plus_ms(5),
        next_at: (outcome == Outcome::Failed).then(|| job.created_at.plus_ms(60_000)),
        category: failed.then_some(Category::Timeout),
        code: failed.then(|| "timeout".to_owned()),
        error: failed.then(|| "no answer".to_owned()),
        status: None,
        exchange: None,
        by: None,
    }
}

/// Everything to every binding that matches, five jobs a second.
fn slowly() -> Request {
    let mut request = Request::new(EventFilter::default(), "a test");
    request.terms.rate = 5;
    request
}

async fn endpoint(world: &World, tenant: TenantId, name: &str) -> EndpointId {
    let now = world.clock.now();
    let id = EndpointId::new(now, &*world.random);
    let name = name.to_owned();
    let made = world.store.transact(SYSTEM, move |tx| {
        let name = name.clone();
        Box::pin(async move {
            let endpoint = Endpoint {
                id,
                tenant,
                queue: tx.queue_ensure(&name).await?,
                name,
                url: "https://sandbox.example.com/".into(),
                enabled: true,
                secrets: Vec::new(),
                headers: std::collections::BTreeMap::new(),
                settings: "{}".into(),
                created_at: now,
                updated_at: now,
            };
            tx.endpoint_insert(&endpoint).await
        })
    });
    made.await.expect("an endpoint is added");
    id
}

async fn unbind(world: &World, binding: BindingId) {
    let tenant = world.tenant;
    let gone = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move { tx.binding_delete(tenant, binding).await })
    });
    assert!(gone.await.expect("it is removed"));
}

on_both!(what_is_planned_is_what_happens, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(7).await;
    all.world.bind("all", "*").await;
    let large = Some("body.data.object.amount_paid > 5000");
    all.world.bind_filtered("large", "invoice.*", large).await;
    let request = slowly();
    let plan = all.plan(SYSTEM, &request).await;
    assert_eq!((plan.events, plan.jobs, plan.already_done), (7, 7, 0));
    assert_eq!((plan.duration_secs, plan.at_least), (2, false));
    let goals: Vec<(&str, i64)> = plan
        .goals
        .iter()
        .map(|one| (&*one.name, one.jobs))
        .collect();
    assert_eq!(goals, [("all", 7)]);
    let replay = all.begin(SYSTEM, &request).await;
    let ended = all.through(&replay).await;
    assert_eq!(ended.state, ReplayState::Done);
    let counts = ended.counts;
    assert_eq!((counts.events, counts.jobs), (plan.events, plan.jobs));
    assert_eq!((counts.done, counts.unfinished), (7, 0));
    assert_eq!(all.made().await, (7, 7));
});

on_both!(jobs_are_made_at_the_rate_and_oldest_first, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(12).await;
    all.world.bind("all", "*").await;
    let replay = all.begin(SYSTEM, &slowly()).await;
    assert_eq!(all.made().await.0, 5, "those of the first second, at once");
    all.round().await;
    assert_eq!(all.made().await.0, 5, "no time went by");
    all.world.clock.advance_ms(400);
    all.round().await;
    assert_eq!(all.made().await.0, 7);
    all.second().await;
    assert_eq!(all.made().await.0, 12);
    assert_eq!(all.now(&replay).await.state, ReplayState::Finishing);
    let mut jobs = jobs(&all.world).await;
    jobs.sort_by_key(|job| job.id);
    let events: Vec<EventId> = jobs.iter().filter_map(|job| job.event).collect();
    assert!(events.is_sorted(), "in the order of their events");
});

on_both!(a_long_pause_is_not_made_up_for_at_once, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(30).await;
    all.world.bind("all", "*").await;
    all.begin(SYSTEM, &slowly()).await;
    all.world.clock.advance_ms(3_600_000);
    all.round().await;
    assert_eq!(all.made().await.0, 10);
});

on_both!(
    no_more_jobs_are_made_than_may_be_unfinished_at_once,
    |db| async {
        let all = Replaying::new(db.store()).await;
        all.events(9).await;
        all.world.bind("all", "*").await;
        let mut request = slowly();
        request.terms.unfinished_max = 4;
        let replay = all.begin(SYSTEM, &request).await;
        for _ in 0..3 {
            all.second().await;
            assert_eq!(all.made().await.0, 4);
        }
        all.end(Outcome::Succeeded).await;
        all.second().await;
        let counts = all.now(&replay).await.counts;
        assert_eq!((counts.jobs, counts.done, counts.unfinished), (8, 4, 4));
    }
);

on_both!(a_paused_replay_makes_nothing_until_it_goes_on, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(12).await;
    all.world.bind("all", "*").await;
    let replay = all.begin(SYSTEM, &slowly()).await;
    assert!(matches!(
        all.wish(&replay, Wish::Pause).await,
        Wished::Changed(_)
    ));
    assert!(matches!(
        all.wish(&replay, Wish::Pause).await,
        Wished::Already(_)
    ));
    all.end(Outcome::Succeeded).await;
    all.second().await;
    all.second().await;
    let paused = all.now(&replay).await;
    assert_eq!((paused.state, paused.counts.jobs), (ReplayState::Paused, 5));
    assert_eq!(
        paused.counts.done, 5,
        "what was made goes on, and is counted"
    );
    assert!(matches!(
        all.wish(&replay, Wish::Resume).await,
        Wished::Changed(_)
    ));
    let ended = all.through(&replay).await;
    assert_eq!((ended.state, ended.counts.done), (ReplayState::Done, 12));
    assert!(matches!(
        all.wish(&replay, Wish::Pause).await,
        Wished::Refused(_)
    ));
});

on_both!(a_stopped_replay_stays_stopped, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(12).await;
    all.world.bind("all", "*").await;
    let replay = all.begin(SYSTEM, &slowly()).await;
    assert!(matches!(
        all.wish(&replay, Wish::Stop).await,
        Wished::Changed(_)
    ));
    assert!(matches!(
        all.wish(&replay, Wish::Resume).await,
        Wished::Refused(_)
    ));
    all.end(Outcome::Succeeded).await;
    all.second().await;
    let stopped = all.now(&replay).await;
    assert_eq!(stopped.state, ReplayState::Stopped);
    assert_eq!(stopped.reason.as_deref(), Some(replay::BY_PERSON));
    assert_eq!((stopped.counts.jobs, stopped.counts.done), (5, 5));
});

on_both!(too_many_failures_stop_a_replay, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(60).await;
    all.world.bind("all", "*").await;
    let mut request = slowly();
    request.terms.rate = 10;
    let replay = all.begin(SYSTEM, &request).await;
    all.end(Outcome::Succeeded).await;
    all.second().await;
    all.end(Outcome::Failed).await;
    all.second().await;
    // Ten went well and ten failed, which are enough and too many: retries do not make the first tries better.
    let stopped = all.now(&replay).await;
    assert_eq!(stopped.state, ReplayState::Stopped);
    assert_eq!(stopped.reason.as_deref(), Some(replay::BY_FAILURES));
    assert_eq!((stopped.counts.jobs, stopped.counts.unfinished), (20, 10));
    let told =
        "SELECT count(*) FROM audit WHERE action = 'replay.stop' AND actor = 'system:replay'";
    assert_eq!(all.world.count(told).await, 1, "it is on record");
    all.second().await;
    assert_eq!(all.made().await.0, 20);
    assert!(matches!(
        all.wish(&replay, Wish::Resume).await,
        Wished::Changed(_)
    ));
    all.second().await;
    assert_eq!(
        all.made().await.0,
        30,
        "what failed before does not stop it again"
    );
});

on_both!(only_old_replays_that_are_over_are_removed, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(30).await;
    all.world.bind("all", "*").await;
    let mut quickly = slowly();
    quickly.terms.rate = 500;
    let over = all.through(&all.begin(SYSTEM, &quickly).await).await;
    let young = all.through(&all.begin(SYSTEM, &quickly).await).await;
    let until = young.created_at;
    let expire = async |until| {
        let gone = all.world.store.transact(SYSTEM, move |tx| {
            Box::pin(async move { tx.replay_expire(until, 100).await })
        });
        gone.await.expect("they are removed")
    };
    assert_eq!(expire(until).await, 1);
    assert_eq!(get(&all.world, SYSTEM, over.id).await, None);
    let running = all.begin(SYSTEM, &slowly()).await;
    let stopped = all.begin(SYSTEM, &slowly()).await;
    all.wish(&stopped, Wish::Stop).await;
    all.world.clock.advance_ms(3_600_000);
    assert_eq!(
        expire(all.world.clock.now()).await,
        1,
        "the young one alone"
    );
    for unfinished in [running, stopped] {
        let left = get(&all.world, SYSTEM, unfinished.id).await;
        assert!(left.is_some(), "its jobs have not ended");
    }
});

on_both!(few_failures_stop_nothing, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(15).await;
    all.world.bind("all", "*").await;
    let replay = all.begin(SYSTEM, &slowly()).await;
    for _ in 0..4 {
        all.end(Outcome::Dead).await;
        all.second().await;
    }
    let ended = all.now(&replay).await;
    assert_eq!((ended.state, ended.counts.dead), (ReplayState::Done, 15));
});

on_both!(
    killed_anywhere_a_replay_makes_nothing_twice_and_leaves_nothing_out,
    |db| async {
        let all = Replaying::new(db.store()).await;
        all.events(12).await;
        all.world.bind("all", "*").await;
        let replay = all.begin(SYSTEM, &slowly()).await;
        let failing = Arc::new(FailingStore::new(Arc::clone(&all.world.store)));
        let through = Arc::clone(&failing) as Arc<dyn Store>;
        let node = Replaying::another(&all.world, &through, &all.builtin);
        for round in 0..6 {
            all.world.clock.advance_ms(1_000);
            // By turns the commit does not happen, and its answer is lost.
            match round % 2 {
                0 => failing.fail_before(1),
                _ => failing.fail_after(1),
            }
            // Whoever comes after the one that was killed knows only what is written.
            drop(node.round(|| true).await);
            all.round().await;
            assert_eq!(all.made().await.0, all.made().await.1);
            all.end(Outcome::Succeeded).await;
        }
        let ended = all.through(&replay).await;
        assert_eq!((ended.counts.events, ended.counts.done), (12, 12));
        assert_eq!(all.made().await, (12, 12));
    }
);

on_both!(two_nodes_at_once_make_nothing_twice, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(20).await;
    all.world.bind("all", "*").await;
    all.begin(SYSTEM, &slowly()).await;
    let second = db.second().await;
    let other = Replaying::another(&all.world, &second, &all.builtin);
    for _ in 0..4 {
        all.world.clock.advance_ms(1_000);
        let (one, two) = tokio::join!(all.replays.round(|| true), other.round(|| true));
        one.expect("it goes on");
        two.expect("it goes on");
    }
    assert_eq!(all.made().await, (20, 20));
});

on_both!(
    each_event_goes_to_the_bindings_of_when_its_turn_comes,
    |db| async {
        let all = Replaying::new(db.store()).await;
        all.events(10).await;
        let old = all.world.bind("old", "*").await;
        let replay = all.begin(SYSTEM, &slowly()).await;
        unbind(&all.world, old).await;
        let new = all.world.bind("new", "*").await;
        let ended = all.through(&replay).await;
        assert_eq!((ended.state, ended.counts.jobs), (ReplayState::Done, 10));
        let of = |id: BindingId| {
            let jobs = jobs(&all.world);
            async move {
                jobs.await
                    .iter()
                    .filter(|job| job.binding == Some(id))
                    .count()
            }
        };
        assert_eq!((of(old).await, of(new).await), (5, 5));
    }
);

on_both!(a_replay_to_a_binding_that_is_removed_stops, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(10).await;
    let binding = all.world.bind("one", "nothing.like.it").await;
    let mut request = slowly();
    request.target = ReplayTarget::Binding(binding);
    let replay = all.begin(SYSTEM, &request).await;
    assert_eq!(all.made().await.0, 5, "whatever its types");
    unbind(&all.world, binding).await;
    all.second().await;
    let stopped = all.now(&replay).await;
    assert_eq!(stopped.state, ReplayState::Stopped);
    assert_eq!(stopped.reason.as_deref(), Some(replay::BINDING_GONE));
});

on_both!(a_sandbox_gets_the_events_without_any_binding, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(4).await;
    all.world.bind("live", "*").await;
    let sandbox = endpoint(&all.world, all.world.tenant, "sandbox").await;
    let mut request = slowly();
    request.target = ReplayTarget::Endpoint(sandbox);
    request.terms.skip_done = true;
    let plan = all.plan(SYSTEM, &request).await;
    assert_eq!((plan.events, plan.jobs), (4, 4));
    assert_eq!(&*plan.goals[0].name, "sandbox");
    let replay = all.begin(Scope::Tenant(all.world.tenant), &request).await;
    let made = jobs(&all.world).await;
    assert_eq!(made.len(), 4);
    assert!(
        made.iter()
            .all(|job| job.endpoint == Some(sandbox) && job.binding.is_none())
    );
    assert_eq!(all.through(&replay).await.counts.done, 4);
    // What was done there is done there, and nowhere else.
    assert_eq!(all.plan(SYSTEM, &request).await.jobs, 0);
    request.target = ReplayTarget::Bindings;
    assert_eq!(all.plan(SYSTEM, &request).await.jobs, 4);
});

on_both!(a_sandbox_gets_no_event_of_a_neighbour, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(3).await;
    let ben = TenantId::new(all.world.clock.now(), &*all.world.random);
    insert_tenant(&*all.world.store, ben, "ben").await;
    let mut request = slowly();
    request.target = ReplayTarget::Endpoint(endpoint(&all.world, ben, "bens").await);
    let plan = all.plan(SYSTEM, &request).await;
    assert_eq!((plan.events, plan.jobs), (3, 0));
    let replay = all.begin(SYSTEM, &request).await;
    assert_eq!(all.through(&replay).await.counts.jobs, 0);
});

on_both!(a_neighbour_replays_nothing_and_sees_no_replay, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(3).await;
    all.world.bind("all", "*").await;
    let ben = TenantId::new(all.world.clock.now(), &*all.world.random);
    insert_tenant(&*all.world.store, ben, "ben").await;
    let scope = Scope::Tenant(ben);
    assert_eq!(all.plan(scope, &slowly()).await.events, 0);
    let theirs = all.begin(scope, &slowly()).await;
    assert_eq!((theirs.tenant, all.made().await.0), (Some(ben), 0));
    let own = all.begin(Scope::Tenant(all.world.tenant), &slowly()).await;
    let platforms = all.begin(SYSTEM, &slowly()).await;
    assert_eq!(platforms.tenant, None);
    for id in [own.id, platforms.id] {
        assert_eq!(get(&all.world, scope, id).await, None);
        let now = all.world.clock.now();
        let wished = all.world.store.transact(scope, move |tx| {
            Box::pin(async move { replay::wish(tx, id, Wish::Stop, now).await })
        });
        assert_eq!(wished.await.expect("it is asked"), Wished::Missing);
    }
    let listed = all.world.store.read(scope, |tx| {
        Box::pin(async move { tx.replay_list(&ReplayFilter::default(), 10).await })
    });
    let listed = listed.await.expect("they are listed");
    assert_eq!(
        listed.iter().map(|one| one.id).collect::<Vec<_>>(),
        [theirs.id]
    );
});

on_both!(
    the_platform_replays_the_events_of_every_tenant_at_one_rate,
    |db| async {
        let all = Replaying::new(db.store()).await;
        all.events(6).await;
        all.world.bind("all", "*").await;
        for name in ["anna", "ben"] {
            let id = TenantId::new(all.world.clock.now(), &*all.world.random);
            insert_tenant(&*all.world.store, id, name).await;
        }
        assert_eq!(all.plan(SYSTEM, &slowly()).await.jobs, 6);
        let replay = all.begin(SYSTEM, &slowly()).await;
        assert_eq!(all.made().await.0, 5);
        assert_eq!(all.through(&replay).await.counts.done, 6);
    }
);

on_both!(what_is_done_is_left_out_where_that_is_asked, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(6).await;
    all.world.bind("all", "*").await;
    let first = all.begin(SYSTEM, &slowly()).await;
    all.through(&first).await;
    let mut request = slowly();
    let plan = all.plan(SYSTEM, &request).await;
    assert_eq!(
        (plan.jobs, plan.already_done),
        (6, 6),
        "made again unless asked"
    );
    request.terms.skip_done = true;
    all.world.bind("another", "*").await;
    let plan = all.plan(SYSTEM, &request).await;
    assert_eq!(
        (plan.jobs, plan.already_done),
        (6, 6),
        "only the other binding's"
    );
    let second = all.through(&all.begin(SYSTEM, &request).await).await;
    assert_eq!((second.counts.jobs, second.counts.skipped), (6, 6));
});

on_both!(an_event_is_replayed_as_often_as_it_is_asked, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(2).await;
    all.world.bind("all", "*").await;
    for times in 1..4 {
        let replay = all.begin(SYSTEM, &slowly()).await;
        assert_eq!(all.through(&replay).await.counts.done, 2);
        assert_eq!(all.made().await, (2 * times, 2 * times));
    }
    let event = jobs(&all.world).await[0].event.expect("it has one");
    let replays = all.world.store.read(SYSTEM, move |tx| {
        Box::pin(async move { tx.event_replays(event).await })
    });
    assert_eq!(replays.await.expect("they are listed").len(), 3);
});

on_both!(events_that_come_in_later_are_not_replayed, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(6).await;
    all.world.bind("all", "*").await;
    let replay = all.begin(SYSTEM, &slowly()).await;
    all.world.clock.advance_ms(10);
    let late = all.world.event("evt_late", "invoice.paid");
    assert_eq!(all.world.accept(late).await.status, 200);
    assert_eq!(all.through(&replay).await.counts.events, 6);
});

on_both!(events_are_selected_by_how_they_stand, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(4).await;
    all.world.bind("all", "*").await;
    let mut request = slowly();
    request.terms.filter.status = Some(EventStatus::Unhandled);
    assert_eq!(all.plan(SYSTEM, &request).await.events, 4);
    let replay = all.begin(SYSTEM, &request).await;
    assert_eq!(all.through(&replay).await.counts.jobs, 4);
    assert_eq!(all.plan(SYSTEM, &request).await.events, 0);
    request.terms.filter.status = Some(EventStatus::Success);
    let again = all.begin(SYSTEM, &request).await;
    let terms = replay::terms(&again).expect("they can be read");
    assert_eq!((terms.selected, terms.selected_more), (4, false));
});

on_both!(
    a_dry_run_says_what_would_change_and_changes_nothing,
    |db| async {
        let all = Replaying::new(db.store()).await;
        all.events(3).await;
        all.world.bind("money", "*").await;
        let handlers: BuiltinHandlers = [(billing::RECORD.to_owned(), all.record())].into();
        let first = all.dry_run(&handlers).await;
        assert_eq!((first.events, first.more, first.jobs.len()), (3, false, 3));
        let DryOutcome::Effects(effects) = &first.jobs[0].outcome else {
            panic!("{first:?}");
        };
        let after = effects[0].after.as_ref().expect("a row");
        assert_eq!(
            (effects[0].what, &effects[0].before),
            ("billing event", &None)
        );
        assert_eq!(
            (&after["amount_minor"], &after["currency"]),
            (&1_200.into(), &"EUR".into())
        );
        assert_eq!(
            all.world.count("SELECT count(*) FROM billing_event").await,
            0
        );
        assert_eq!(all.made().await.0, 0);
        // Recorded meanwhile: it would stay as it is.
        let (event, tenant, now) = (first.jobs[0].event, all.world.tenant, all.world.clock.now());
        let recorded = all.world.store.transact(SYSTEM, move |tx| {
            Box::pin(async move {
                let record = BillingEvent {
                    tenant,
                    event,
                    kind: "invoice.paid".into(),
                    amount_minor: Some(7),
                    currency: Some("EUR".into()),
                    occurred_at: now,
                    created_at: now,
                };
                tx.billing_event_insert(&record).await
            })
        });
        recorded.await.expect("it is recorded");
        let second = all.dry_run(&handlers).await;
        let DryOutcome::Effects(effects) = &second.jobs[0].outcome else {
            panic!("{second:?}");
        };
        assert!(effects[0].before.is_some() && effects[0].before == effects[0].after);
        // Of a handler that is not there nobody can tell.
        let untold = all.dry_run(&BuiltinHandlers::new()).await;
        assert_eq!(untold.jobs[0].outcome, DryOutcome::Untold);
    }
);

on_both!(a_tenant_has_only_so_many_open_replays, |db| async {
    let all = Replaying::new(db.store()).await;
    all.events(12).await;
    all.world.bind("all", "*").await;
    let scope = Scope::Tenant(all.world.tenant);
    let mut last = None;
    for _ in 0..replay::OPEN_MAX {
        last = Some(all.begin(scope, &slowly()).await);
    }
    let store = &*all.world.store;
    assert_eq!(all.begin_in(store, scope, &slowly()).await, None);
    all.wish(&last.expect("there is one"), Wish::Stop).await;
    assert!(all.begin_in(store, scope, &slowly()).await.is_some());
});
