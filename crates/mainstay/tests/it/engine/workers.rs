//! Workers: what they are handed is theirs until they say how it went, or are heard of no more.

use mainstay::jobs::{
    EngineHandle, Failure,
    machine::Standing,
    workers::{Beat, Handed, How, Progress, Pull, Told, Worker, WorkerError, WorkerReport},
};
use mainstay_domain::{
    Category,
    jobs::{NewJob, Outcome, QueueNumber, retry::RetryPolicy},
};
use mainstay_testkit::on_both;
use serde_json::value::RawValue;

use super::works::{Works, in_time, kill, until, until_done};

/// Time passes in small steps here: an owner that was not there for a while grants everybody a lease more.
const LEASE_MS: i32 = 10_000;

fn worker(name: &str) -> Worker {
    Worker {
        name: name.into(),
        by: "key:test".into(),
    }
}

async fn queue(works: &Works) -> QueueNumber {
    works
        .write(|tx| Box::pin(async move { tx.queue_ensure("letters").await }))
        .await
}

fn letters(works: &Works, queue: QueueNumber, count: usize) -> Vec<NewJob> {
    let mut jobs = works.jobs("letter.print", queue, count);
    for job in &mut jobs {
        job.payload = Some(r#"{"to":"you"}"#.into());
    }
    jobs
}

fn pull(name: &str, queue: QueueNumber, places: u32) -> Pull {
    Pull {
        worker: worker(name),
        queues: vec![queue],
        places,
        lease_ms: LEASE_MS,
        at_once: false,
    }
}

/// Asks until there is something, as a worker does that goes on for ever.
async fn pulled(engine: &EngineHandle, pull: Pull) -> Vec<Handed> {
    let waiting = async {
        loop {
            let asked = engine.workers().pull(pull.clone(), std::future::pending());
            match asked.await {
                Ok(taken) => {
                    let jobs = taken.take();
                    if !jobs.is_empty() {
                        return jobs;
                    }
                }
                // It does not own the jobs yet.
                Err(WorkerError::NotTheOwner) => {
                    until(engine, "it owns", |seen| seen.owner).await;
                }
                Err(error) => panic!("a pull is answered: {error}"),
            }
        }
    };
    in_time(waiting, "there is a job").await
}

fn report(name: &str, job: &Handed, how: How) -> WorkerReport {
    WorkerReport {
        worker: worker(name),
        tenant: job.tenant,
        job: job.job,
        attempt: job.attempt,
        how,
    }
}

fn done(result: &str) -> How {
    let result = RawValue::from_string(result.to_owned()).expect("it is JSON");
    How::Done {
        result: Some(result),
    }
}

async fn told(engine: &EngineHandle, report: WorkerReport) -> Told {
    loop {
        let told = engine.workers().report(report.clone()).await;
        match told.expect("the owner answers") {
            // A new owner looks first what is in whose hands.
            Told::NotYet => tokio::task::yield_now().await,
            told => return told,
        }
    }
}

async fn beat(engine: &EngineHandle, name: &str, job: &Handed) -> Standing {
    let one = Beat {
        job: job.job,
        attempt: job.attempt,
        progress: Some(Progress {
            percent: Some(40),
            note: Some("printing".into()),
        }),
    };
    let standings = engine.workers().beat(worker(name), vec![one]).await;
    standings.expect("the owner answers")[0]
}

on_both!(
    a_worker_is_handed_what_is_recorded_as_started_and_its_result_is_kept,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let queue = queue(&works).await;
        works.insert(&letters(&works, queue, 3)).await;
        until(&engine, "they wait", |seen| {
            seen.queue(queue).is_some_and(|queue| queue.waiting == 3)
        })
        .await;
        let starts = "SELECT count(*) FROM attempt_start";
        assert_eq!(works.count(starts).await, 0, "nobody waits for them");
        let jobs = pulled(&engine, pull("one", queue, 2)).await;
        assert_eq!(jobs.len(), 2);
        assert_eq!(works.count(starts).await, 2);
        let job = &jobs[0];
        assert_eq!(
            (job.attempt, job.tries, job.kind.as_str()),
            (1, 1, "letter.print")
        );
        assert_eq!(job.payload.as_deref(), Some(&br#"{"to":"you"}"#[..]));
        assert_eq!(beat(&engine, "one", job).await, Standing::InHand);
        let held = engine.workers().holder(job.job, 1).expect("it is in hand");
        assert_eq!(held.worker.name, "one");
        let listed = engine.workers().list().expect("it owns");
        assert_eq!((listed.len(), listed[0].jobs.len()), (1, 2));

        let said = report("one", job, done(r#"{"pages":3}"#));
        assert_eq!(told(&engine, said.clone()).await, Told::Recorded);
        let attempt = &works.attempts(job.job).await[0];
        assert_eq!(attempt.outcome, Outcome::Succeeded);
        let kept = attempt.exchange.as_deref().expect("what it said is kept");
        for part in [r#""pages":3"#, r#""percent":40"#, r#""worker":"one""#] {
            assert!(kept.contains(part), "{kept}");
        }
        assert_eq!(told(&engine, said).await, Told::Recorded, "said again");
        assert_eq!(works.attempts(job.job).await.len(), 1);
        let failed = How::Failed {
            failure: Box::new(Failure::new(
                Category::Provider,
                "jam",
                "the paper is stuck",
            )),
            last: true,
        };
        assert_eq!(
            told(&engine, report("one", &jobs[1], failed)).await,
            Told::Recorded
        );
        assert_eq!(works.letters().await[0].code, "jam");
        let third = pulled(&engine, pull("two", queue, 5)).await;
        assert_eq!(third.len(), 1);
        assert_eq!(
            told(&engine, report("two", &third[0], done("null"))).await,
            Told::Recorded
        );
        until_done(&engine, queue, 2).await;
        engine.stop().await;
    }
);

on_both!(
    a_job_whose_worker_is_heard_of_no_more_is_handed_to_another,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let queue = queue(&works).await;
        let mut jobs = letters(&works, queue, 1);
        let own = RetryPolicy::Schedule {
            attempts_max: 2,
            delays_ms: vec![1_000],
        };
        jobs[0].retry = Some(serde_json::to_string(&own).expect("a policy is plain"));
        works.insert(&jobs).await;
        let first = pulled(&engine, pull("silent", queue, 1)).await.remove(0);
        let ticking = works.let_time_pass(200);
        let second = pulled(&engine, pull("other", queue, 1)).await.remove(0);
        drop(ticking);
        assert_eq!(
            (second.job, second.attempt, second.tries),
            (first.job, 2, 2)
        );
        assert_eq!(beat(&engine, "silent", &first).await, Standing::Ended);
        let late = told(&engine, report("silent", &first, done("1"))).await;
        assert_eq!(late, Told::Ended, "what comes late changes nothing");
        let attempts = works.attempts(first.job).await;
        assert_eq!(attempts.len(), 1);
        assert_eq!(
            (attempts[0].outcome, attempts[0].code.as_deref()),
            (Outcome::Lost, Some("lease_ended"))
        );
        let kept = attempts[0].exchange.as_deref().unwrap_or_default();
        assert!(kept.contains("silent"), "who had it is known: {kept}");
        let failed = How::Failed {
            failure: Box::new(Failure::new(Category::Network, "away", "nobody is there")),
            last: false,
        };
        assert_eq!(
            told(&engine, report("other", &second, failed)).await,
            Told::Recorded
        );
        assert_eq!(
            works.outcomes(first.job).await,
            [Outcome::Lost, Outcome::Dead],
            "its own policy gives it two tries"
        );
        engine.stop().await;
    }
);

on_both!(
    what_is_in_hand_stays_there_when_the_owner_dies,
    |db| async {
        let works = Works::mortal(db.store()).await;
        let engine = works.engine();
        let queue = queue(&works).await;
        works.insert(&letters(&works, queue, 3)).await;
        let jobs = pulled(&engine, pull("one", queue, 3)).await;
        kill(engine).await;
        works.clock.advance_ms(1);
        let engine = works.engine_on(db.second().await);
        until(&engine, "it owns", |seen| seen.owner).await;
        assert_eq!(
            told(&engine, report("one", &jobs[0], done("1"))).await,
            Told::Recorded
        );
        let wait = async {
            loop {
                match beat(&engine, "one", &jobs[1]).await {
                    Standing::NotYet => tokio::task::yield_now().await,
                    standing => return standing,
                }
            }
        };
        assert_eq!(in_time(wait, "it is known").await, Standing::InHand);
        // The third is not heard of any more: it has one lease, and is then another's.
        let ticking = works.let_time_pass(200);
        let third = pulled(&engine, pull("two", queue, 1)).await.remove(0);
        drop(ticking);
        assert!([jobs[1].job, jobs[2].job].contains(&third.job));
        assert_eq!(third.attempt, 2);
        assert_eq!(works.outcomes(third.job).await, [Outcome::Lost]);
        engine.stop().await;
    }
);

on_both!(
    a_clean_stop_takes_nothing_out_of_anybodys_hands,
    |db| async {
        let works = Works::mortal(db.store()).await;
        let engine = works.engine();
        let queue = queue(&works).await;
        works.insert(&letters(&works, queue, 1)).await;
        let job = pulled(&engine, pull("one", queue, 1)).await.remove(0);
        engine.stop().await;
        let away = engine.workers().beat(worker("one"), Vec::new()).await;
        assert!(matches!(away, Err(WorkerError::NotTheOwner)));
        let engine = works.engine();
        until(&engine, "it owns", |seen| seen.owner).await;
        assert_eq!(
            told(&engine, report("one", &job, done("1"))).await,
            Told::Recorded
        );
        assert_eq!(works.outcomes(job.job).await, [Outcome::Succeeded]);
        engine.stop().await;
    }
);

on_both!(
    who_is_gone_when_jobs_come_gives_them_back_unused,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let queue = queue(&works).await;
        works.insert(&letters(&works, queue, 1)).await;
        until(&engine, "it owns", |seen| seen.owner).await;
        let gone = engine
            .workers()
            .pull(pull("gone", queue, 1), std::future::pending());
        drop(in_time(gone, "it is answered").await.expect("it owns"));
        let job = pulled(&engine, pull("here", queue, 1)).await.remove(0);
        assert_eq!((job.attempt, job.tries), (2, 1));
        let back = How::Returned {
            reason: Some("no paper".into()),
            delay_ms: Some(60_000),
        };
        assert_eq!(
            told(&engine, report("here", &job, back)).await,
            Told::Recorded
        );
        let attempts = works.attempts(job.job).await;
        assert_eq!(
            (attempts[1].code.as_deref(), attempts[1].tries),
            (Some("snoozed"), 0)
        );
        works.clock.advance_ms(60_000);
        let job = pulled(&engine, pull("here", queue, 1)).await.remove(0);
        assert_eq!((job.attempt, job.tries), (3, 1));
        engine.stop().await;
    }
);

on_both!(a_worker_hears_that_its_job_was_cancelled, |db| async {
    let works = Works::new(db.store()).await;
    let engine = works.engine();
    let queue = queue(&works).await;
    let jobs = letters(&works, queue, 1);
    works.insert(&jobs).await;
    let job = pulled(&engine, pull("one", queue, 1)).await.remove(0);
    assert!(works.cancel(&jobs[0]).await);
    until(&engine, "it is heard of", |seen| {
        seen.queue(queue)
            .is_some_and(|queue| queue.tally.cancelled == 1)
    })
    .await;
    assert_eq!(beat(&engine, "one", &job).await, Standing::Cancelled);
    let said = report("one", &job, done("1"));
    assert_eq!(told(&engine, said.clone()).await, Told::Cancelled);
    assert_eq!(told(&engine, said).await, Told::Cancelled);
    until(&engine, "its place is free", |seen| {
        seen.queue(queue).is_some_and(|queue| queue.running == 0)
    })
    .await;
    assert_eq!(works.outcomes(job.job).await, [Outcome::Cancelled]);
    engine.stop().await;
});

on_both!(
    whenever_the_owner_dies_each_job_is_recorded_once,
    |db| async {
        let works = Works::mortal(db.store()).await;
        let queue = queue(&works).await;
        works.insert(&letters(&works, queue, 60)).await;
        let mut engine = works.engine();
        let mut recorded = 0;
        for _ in 0..2 {
            let mut jobs = Vec::new();
            while jobs.len() < 10 {
                jobs.extend(pulled(&engine, pull("one", queue, 5)).await);
            }
            let (before, after) = jobs.split_at(5);
            recorded += report_all(&engine, before).await;
            kill(engine).await;
            works.clock.advance_ms(1);
            engine = works.engine();
            until(&engine, "it owns", |seen| seen.owner).await;
            // The answers were lost, and the rest was not told.
            assert_eq!(report_all(&engine, before).await, before.len());
            recorded += report_all(&engine, after).await;
        }
        while recorded < 60 {
            let jobs = pulled(&engine, pull("one", queue, 20)).await;
            recorded += report_all(&engine, &jobs).await;
        }
        until_done(&engine, queue, 60).await;
        let rows = "SELECT count(*) FROM attempt";
        assert_eq!(works.count(rows).await, 60, "nothing was tried twice");
        engine.stop().await;
    }
);

/// Answers how many are recorded.
async fn report_all(engine: &EngineHandle, jobs: &[Handed]) -> usize {
    let mut recorded = 0;
    for job in jobs {
        let told = told(engine, report("one", job, done("1"))).await;
        recorded += usize::from(told == Told::Recorded);
    }
    recorded
}
