//! How fast: run with `cargo test --release -p mainstay --test it speed -- --ignored --nocapture`.
#![expect(clippy::print_stderr, reason = "a measurement for people")]

use std::time::Instant;

use super::works::{Works, until_done};

const JOBS: usize = 200_000;

mod drain {
    use super::*;

    async fn body(db: &mainstay_testkit::TestDatabase, name: &str) {
        let works = Works::new(db.store()).await;
        let jobs = works.jobs("noop", works.noop, JOBS);
        for part in jobs.chunks(5_000) {
            works.insert(part).await;
        }
        let engine = works.engine();
        let begun = Instant::now();
        until_done(&engine, works.noop, JOBS as i64).await;
        let took = begun.elapsed();
        eprintln!("{name}: {:.0} jobs/s", JOBS as f64 / took.as_secs_f64());
        engine.stop().await;
    }

    #[test]
    #[ignore = "a measurement"]
    fn on_sqlite() {
        mainstay_testkit::run(async {
            let db = mainstay_testkit::TestDatabase::sqlite().await;
            body(&db, "sqlite").await;
            db.finish().await;
        });
    }

    #[test]
    #[ignore = "a measurement"]
    fn on_postgres() {
        mainstay_testkit::run(async {
            let db = mainstay_testkit::TestDatabase::postgres().await;
            body(&db, "postgres").await;
            db.finish().await;
        });
    }
}
