//! Lists: their filters, and that paging through them shows what one big page shows.

use mainstay_domain::{
    Category, EventId, JobId, Scope, StoreExt,
    intake::{Event, EventFilter, EventStatus, Verdict},
    jobs::{Attempt, DeadLetter, DeadLetterFilter, Job, JobFilter, JobState, NewJob, Outcome},
};
use mainstay_testkit::{TestDatabase, on_both};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::kit::{SYSTEM, World, attempt, letter, run, start};

/// Two tenants with events in every status, interleaved in time.
pub(crate) struct Scene {
    pub(crate) one: World,
    pub(crate) two: World,
    events: Vec<(EventId, EventStatus)>,
}

pub(crate) async fn scene(db: &TestDatabase) -> Scene {
    let store = db.store();
    let one = World::named(&store, "one", 1).await;
    let two = World::named(&store, "two", 2).await;
    let mut events = Vec::new();
    for index in 0..40_i64 {
        let world = if index % 3 == 0 { &two } else { &one };
        let id = format!("evt_{index}");
        let mut arrival = match index % 4 {
            0 => world.arrival(&id, index * 10),
            _ => world.arrival_within(&id, index * 10),
        };
        let event = &mut arrival.events[0];
        event.kind =
            ["invoice.paid", "invoice.created", "charge.refunded"][index as usize % 3].into();
        let status = EventStatus::ALL[index as usize % 5];
        let jobs = std::mem::take(&mut event.jobs);
        event.jobs = if status == EventStatus::Unhandled {
            Vec::new()
        } else {
            jobs
        };
        let job = event.jobs.first().cloned();
        events.push((event.id, status));
        world.append(vec![arrival]).await;
        if let Some(job) = job {
            tried(world, job, status).await;
        }
    }
    events.reverse();
    Scene { one, two, events }
}

async fn tried(world: &World, job: NewJob, status: EventStatus) {
    match status {
        EventStatus::Success => {
            world
                .settle(vec![attempt(&job, 1, Outcome::Succeeded)])
                .await;
        }
        EventStatus::Error => {
            let letter = letter(&job, 1, job.created_at.plus_ms(20));
            let attempts: Vec<Attempt> = vec![attempt(&job, 1, Outcome::Dead)];
            let died = run!(world.store, SYSTEM, [letter, attempts], |tx| async {
                tx.attempt_settle(&attempts, None).await?;
                tx.dead_letter_insert(&letter).await
            });
            died.expect("it dies");
        }
        EventStatus::Processing => {
            let starts = vec![start(&job, 1, job.created_at)];
            run!(world.store, SYSTEM, [starts], |tx| tx
                .attempt_start(&starts))
            .expect("it starts");
        }
        EventStatus::Pending | EventStatus::Unhandled => {}
    }
}

impl Scene {
    pub(crate) async fn events(&self, scope: Scope, filter: EventFilter, limit: i64) -> Vec<Event> {
        run!(self.one.store, scope, [filter], |tx| tx
            .event_list(&filter, limit))
        .expect("it answers")
    }

    async fn found(&self, scope: Scope, filter: EventFilter) -> Vec<EventId> {
        self.events(scope, filter, 1_000)
            .await
            .iter()
            .map(|event| event.id)
            .collect()
    }

    fn wanted(&self, keep: impl Fn(usize, EventStatus) -> bool) -> Vec<EventId> {
        let last = self.events.len() - 1;
        let kept = self
            .events
            .iter()
            .enumerate()
            .filter(|(place, (_, status))| keep(last - place, *status));
        kept.map(|(_, (id, _))| *id).collect()
    }
}

on_both!(
    events_are_filtered_by_everything_that_is_asked_for,
    |db| async {
        let scene = scene(db).await;
        let all = EventFilter::default;
        assert_eq!(scene.found(SYSTEM, all()).await, scene.wanted(|_, _| true));
        let own = scene.wanted(|index, _| index % 3 != 0);
        assert_eq!(scene.found(scene.one.scope(), all()).await, own);
        let asked = EventFilter {
            tenant: Some(scene.one.tenant),
            ..all()
        };
        assert_eq!(scene.found(SYSTEM, asked.clone()).await, own);
        assert_eq!(scene.found(scene.two.scope(), asked).await, []);
        for status in EventStatus::ALL {
            let filter = EventFilter {
                status: Some(status),
                ..all()
            };
            let found = scene.events(SYSTEM, filter, 1_000).await;
            assert!(
                found
                    .iter()
                    .all(|event| EventStatus::of(event.jobs) == status),
                "{status:?}"
            );
            let found: Vec<EventId> = found.iter().map(|event| event.id).collect();
            assert_eq!(found, scene.wanted(|_, one| one == status), "{status:?}");
        }
        let kind = |kind: &str| EventFilter {
            kind: Some(kind.into()),
            ..all()
        };
        assert_eq!(
            scene.found(SYSTEM, kind("invoice.paid")).await,
            scene.wanted(|index, _| index % 3 == 0)
        );
        assert_eq!(
            scene.found(SYSTEM, kind("invoice.*")).await,
            scene.wanted(|index, _| index % 3 != 2)
        );
        assert_eq!(scene.found(SYSTEM, kind("invoice.")).await, []);
        assert_eq!(scene.found(SYSTEM, kind("Invoice.*")).await, []);
        let source = EventFilter {
            source: Some(scene.two.source.id),
            ..all()
        };
        assert_eq!(
            scene.found(SYSTEM, source).await,
            scene.wanted(|index, _| index % 3 == 0)
        );
        let provider = EventFilter {
            provider_id: Some("evt_7".into()),
            ..all()
        };
        assert_eq!(
            scene.found(SYSTEM, provider.clone()).await,
            scene.wanted(|index, _| index == 7)
        );
        assert_eq!(scene.found(scene.two.scope(), provider).await, []);
        let between = EventFilter {
            from: Some(scene.one.at(100)),
            to: Some(scene.one.at(200)),
            ..all()
        };
        assert_eq!(
            scene.found(SYSTEM, between).await,
            scene.wanted(|index, _| (10..20).contains(&index))
        );
        let some = EventFilter {
            ids: scene.wanted(|index, _| index < 5),
            ..all()
        };
        assert_eq!(
            scene.found(scene.one.scope(), some).await,
            scene.wanted(|index, _| index < 5 && index % 3 != 0)
        );
    }
);

/// Pages of random sizes, from a runtime of the test's own.
fn paged<T: std::fmt::Debug + Clone + PartialEq>(
    whole: &[T],
    page: impl Fn(Option<T>, i64) -> Vec<T>,
) {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let tested = runner.run(&(1_i64..15), |limit| {
        let mut all: Vec<T> = Vec::new();
        loop {
            let some = page(all.last().cloned(), limit);
            prop_assert!(some.len() as i64 <= limit);
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        prop_assert_eq!(&all[..], whole);
        Ok(())
    });
    tested.expect("paging shows everything once");
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
}

on_both!(
    paging_with_any_limit_shows_what_one_big_page_shows,
    |db| async {
        let scene = scene(db).await;
        for (scope, status) in [
            (SYSTEM, None),
            (scene.one.scope(), None),
            (SYSTEM, Some(EventStatus::Error)),
            (scene.one.scope(), Some(EventStatus::Pending)),
        ] {
            let filter = EventFilter {
                status,
                ..EventFilter::default()
            };
            let whole = scene.events(scope, filter.clone(), 1_000).await;
            assert!(!whole.is_empty());
            paged(&whole, |last, limit| {
                let before = last.map(|last| (last.received_at, last.id));
                wait(scene.events(
                    scope,
                    EventFilter {
                        before,
                        ..filter.clone()
                    },
                    limit,
                ))
            });
            let jobs = async |before: Option<Job>, limit: i64| {
                let filter = JobFilter {
                    before: before.map(|job| job.id),
                    ..JobFilter::default()
                };
                run!(scene.one.store, scope, [filter], |tx| tx
                    .job_list(&filter, limit))
                .expect("it answers")
            };
            let whole = jobs(None, 1_000).await;
            paged(&whole, |last, limit| wait(jobs(last, limit)));
            let letters = async |before: Option<DeadLetter>, limit: i64| {
                let before = before.map(|letter| (letter.died_at, letter.job));
                let filter = DeadLetterFilter {
                    before,
                    ..DeadLetterFilter::default()
                };
                run!(scene.one.store, scope, [filter], |tx| tx
                    .dead_letter_list(&filter, limit))
                .expect("it answers")
            };
            let whole = letters(None, 1_000).await;
            assert!(!whole.is_empty());
            paged(&whole, |last, limit| wait(letters(last, limit)));
            let receipts = async |before: Option<mainstay_domain::intake::Receipt>, limit: i64| {
                let before = before.map(|receipt| (receipt.received_at, receipt.id));
                run!(scene.one.store, scope, [], |tx| tx
                    .receipt_list(None, None, before, limit))
                .expect("it answers")
            };
            let whole = receipts(None, 1_000).await;
            assert!(!whole.is_empty());
            paged(&whole, |last, limit| wait(receipts(last, limit)));
        }
    }
);

on_both!(
    all_jobs_of_an_event_are_found_whether_they_have_its_id_or_not,
    |db| async {
        let world = World::new(db).await;
        let mut several = world.arrival("evt_1", 10);
        let event = several.events[0].id;
        several.events[0].jobs.push(world.job_of(event, 11));
        several.events[0].jobs.push(world.job_of(event, 12));
        let mut wanted: Vec<JobId> = several.events[0].jobs.iter().map(|job| job.id).collect();
        wanted.reverse();
        let other = world.arrival("evt_2", 11);
        world.append(vec![several, other]).await;
        let filter = JobFilter {
            event: Some(event),
            ..JobFilter::default()
        };
        for scope in [SYSTEM, world.scope()] {
            let found = run!(world.store, scope, [filter], |tx| tx.job_list(&filter, 10));
            let found: Vec<JobId> = found
                .expect("it answers")
                .iter()
                .map(|job| job.id)
                .collect();
            assert_eq!(found, wanted);
            let event = run!(world.store, scope, [], |tx| tx.event_get(event));
            let tally = event.expect("it answers").expect("it is there").jobs;
            assert_eq!((tally.total, tally.waiting), (3, 3));
        }
        let pending = EventFilter {
            status: Some(EventStatus::Pending),
            ..EventFilter::default()
        };
        let found = run!(world.store, SYSTEM, [pending], |tx| tx
            .event_list(&pending, 10));
        assert_eq!(found.expect("it answers").len(), 2);
    }
);

on_both!(
    jobs_are_filtered_by_state_queue_kind_and_event,
    |db| async {
        let scene = scene(db).await;
        let list = async |scope: Scope, filter: JobFilter| {
            run!(scene.one.store, scope, [filter], |tx| tx
                .job_list(&filter, 1_000))
            .expect("it answers")
        };
        for state in JobState::ALL {
            let filter = JobFilter {
                state: Some(state),
                ..JobFilter::default()
            };
            let found = list(SYSTEM, filter).await;
            assert!(found.iter().all(|job| job.state == state));
            let there = [
                JobState::Waiting,
                JobState::Running,
                JobState::Done,
                JobState::Dead,
            ];
            assert_eq!(
                found.len(),
                if there.contains(&state) { 8 } else { 0 },
                "{state:?}"
            );
        }
        let queue = JobFilter {
            queue: Some(scene.two.queue),
            ..JobFilter::default()
        };
        assert!(
            list(SYSTEM, queue.clone())
                .await
                .iter()
                .all(|job| job.tenant == scene.two.tenant)
        );
        assert_eq!(list(scene.one.scope(), queue).await, []);
        let kind = JobFilter {
            kind: Some("other".into()),
            ..JobFilter::default()
        };
        assert_eq!(list(SYSTEM, kind).await, []);
        let event = scene.events[0].0;
        let of_event = JobFilter {
            event: Some(event),
            ..JobFilter::default()
        };
        assert!(
            list(SYSTEM, of_event)
                .await
                .iter()
                .all(|job| job.event == Some(event))
        );
        let mut scheduled = scene.one.job(1);
        scheduled.run_at = Some(mainstay_domain::Timestamp::from_secs(32_000_000_000));
        scene.one.insert(vec![scheduled.clone()]).await;
        let filter = JobFilter {
            state: Some(JobState::Scheduled),
            ..JobFilter::default()
        };
        let found = list(SYSTEM, filter).await;
        assert_eq!((found.len(), found[0].next_at), (1, scheduled.run_at));
    }
);

on_both!(dead_letters_are_filtered_and_grouped, |db| async {
    let scene = scene(db).await;
    let list = async |scope: Scope, filter: DeadLetterFilter| {
        run!(scene.one.store, scope, [filter], |tx| tx
            .dead_letter_list(&filter, 1_000))
        .expect("it answers")
    };
    let all = DeadLetterFilter::default;
    let whole = list(SYSTEM, all()).await;
    assert_eq!(whole.len(), 8);
    let some = DeadLetterFilter {
        jobs: whole[..3].iter().map(|one| one.job).collect(),
        ..all()
    };
    assert_eq!(list(SYSTEM, some).await, whole[..3]);
    let event = DeadLetterFilter {
        event: whole[2].event,
        ..all()
    };
    assert_eq!(list(SYSTEM, event).await, whole[2..3]);
    let from = DeadLetterFilter {
        from: Some(whole[3].died_at),
        to: Some(whole[0].died_at),
        ..all()
    };
    assert_eq!(list(SYSTEM, from).await, whole[1..4]);
    for (filter, count) in [
        (
            DeadLetterFilter {
                kind: Some("noop".into()),
                ..all()
            },
            8,
        ),
        (
            DeadLetterFilter {
                kind: Some("other".into()),
                ..all()
            },
            0,
        ),
        (
            DeadLetterFilter {
                code: Some("timeout".into()),
                ..all()
            },
            8,
        ),
        (
            DeadLetterFilter {
                category: Some(Category::Timeout),
                ..all()
            },
            8,
        ),
        (
            DeadLetterFilter {
                category: Some(Category::Network),
                ..all()
            },
            0,
        ),
        (
            DeadLetterFilter {
                tenant: Some(scene.two.tenant),
                ..all()
            },
            3,
        ),
    ] {
        assert_eq!(
            list(SYSTEM, filter.clone()).await.len(),
            count,
            "{filter:?}"
        );
        let groups = run!(scene.one.store, SYSTEM, [filter], |tx| tx
            .dead_letter_groups(&filter))
        .expect("it answers");
        assert_eq!(
            groups.iter().map(|group| group.count).sum::<i64>(),
            count as i64
        );
    }
    let filter = all();
    let groups = run!(scene.one.store, SYSTEM, [filter], |tx| tx
        .dead_letter_groups(&filter))
    .expect("it answers");
    assert_eq!(
        (groups.len(), groups[0].count, &*groups[0].sample_error),
        (1, 8, "no answer")
    );
    assert_eq!(
        (groups[0].newest, groups[0].oldest),
        (whole[0].died_at, whole[7].died_at)
    );
    assert!(
        list(scene.two.scope(), all())
            .await
            .iter()
            .all(|letter| letter.tenant == scene.two.tenant)
    );
});

on_both!(receipts_are_listed_by_source_and_verdict, |db| async {
    let scene = scene(db).await;
    let mut refused = scene.one.receipt(1_000);
    refused.refusal = Some("signature_wrong".into());
    let receipts = vec![refused.clone()];
    run!(scene.one.store, SYSTEM, [receipts], |tx| tx
        .receipt_append(&receipts))
    .expect("it is kept");
    let list = async |scope: Scope, source, verdict| {
        run!(scene.one.store, scope, [], |tx| tx
            .receipt_list(source, verdict, None, 1_000))
        .expect("it answers")
    };
    assert_eq!(list(SYSTEM, None, None).await.len(), 41);
    assert_eq!(
        list(SYSTEM, Some(scene.two.source.id), None).await.len(),
        14
    );
    let found = list(scene.one.scope(), None, Some(Verdict::Refused)).await;
    assert_eq!(
        (found.len(), found[0].refusal.as_deref()),
        (1, Some("signature_wrong"))
    );
    assert_eq!(found[0].source_name, "one-stripe");
    assert_eq!(
        list(scene.two.scope(), None, Some(Verdict::Refused)).await,
        []
    );
    assert_eq!(
        list(scene.two.scope(), Some(scene.one.source.id), None).await,
        []
    );
    let id = refused.id;
    let body = run!(scene.one.store, scene.one.scope(), [], |tx| tx
        .receipt_body(id))
    .expect("it answers");
    assert_eq!(body, refused.body);
    let body = run!(scene.one.store, scene.two.scope(), [], |tx| tx
        .receipt_body(id))
    .expect("it answers");
    assert_eq!(body, None);
});
