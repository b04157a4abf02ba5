//! An owner that may not act any more gives nothing out.

use mainstay_testkit::{TestClock, TestDatabase};
use uuid::Uuid;

use super::*;

const LONG: Duration = Duration::from_secs(600);

async fn door(db: &TestDatabase) -> Workers {
    let clock = Arc::new(TestClock::at(Timestamp::from_secs(1_900_000_000)));
    Workers::new(db.store(), clock, Arc::new(Samples::default()))
}

fn pull() -> Pull {
    Pull {
        worker: Worker {
            name: "press-1".into(),
            by: "key:press".into(),
        },
        queues: vec![1],
        places: 1,
        lease_ms: 30_000,
        at_once: false,
    }
}

fn handed() -> Handed {
    Handed {
        tenant: TenantId::NIL,
        job: JobId::from_uuid(Uuid::from_u128(1)),
        attempt: 1,
        tries: 1,
        queue: 1,
        kind: "letter.print".into(),
        payload: None,
        lease_ms: 30_000,
        deadline: None,
        created_at: Timestamp::EPOCH,
    }
}

/// Pulls while the owner answers with a job and may act until then; what came of it, and whether the job was given back.
async fn pulled(workers: &Workers, until: Instant) -> (Result<Taken, WorkerError>, bool) {
    let (back, mut calls) = mpsc::unbounded_channel();
    workers.open(back.clone(), Instant::now() + LONG);
    let owner = async {
        let Some(Call::Pull { answer, .. }) = calls.recv().await else {
            panic!("it is asked for jobs");
        };
        workers.may_act(until);
        drop(answer.send(Taken::new(vec![handed()], back)));
        calls
    };
    let (taken, mut calls) = tokio::join!(workers.pull(pull(), std::future::pending()), owner);
    let mut given_back = false;
    while let Ok(call) = calls.try_recv() {
        // That the poll is closed is said as well.
        given_back |= matches!(call, Call::Report { attempt: 1, .. });
    }
    (taken, given_back)
}

#[test]
fn what_an_owner_answers_after_its_lease_is_given_to_nobody() {
    mainstay_testkit::run(async {
        let db = TestDatabase::sqlite().await;
        let workers = door(&db).await;
        let (taken, given_back) = pulled(&workers, Instant::now() + LONG).await;
        assert_eq!(taken.expect("it owns the jobs").take().len(), 1);
        assert!(!given_back);

        // It stood still between the start of the job and the answer.
        let (taken, given_back) = pulled(&workers, Instant::now()).await;
        assert!(matches!(taken, Err(WorkerError::NotTheOwner)));
        assert!(given_back, "whoever is the owner by then may hand it out");
        let listed = workers.list();
        assert!(
            matches!(listed, Err(WorkerError::NotTheOwner)),
            "{listed:?}"
        );
    });
}
