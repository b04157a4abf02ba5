//! The spool: with the database gone nothing that is verified is sent away, and all of it is stored once when it is back.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mainstay::{
    intake::{
        Answer, Beside, Intake,
        spool::{Disk, FileSystem, Sink, Spool, SpoolError, SpoolOptions, SpoolStatus},
    },
    watch::Samples,
};
use mainstay_domain::{Clock, Scope, Store, StoreExt};
use mainstay_testkit::{FailingStore, TestDatabase, on_both};

use crate::world::{SECRET, World, stripe_body};

const OURS: &str = "SELECT count(*) FROM event WHERE kind = 'invoice.paid'";
const DELIVERIES: &str = "SELECT coalesce(sum(deliveries), 0) FROM dedup AS d
    WHERE EXISTS (SELECT 1 FROM event AS e WHERE e.id = d.event_id AND e.kind = 'invoice.paid')";
const TOLD: &str = "SELECT count(*) FROM event WHERE kind = 'intake.spooled'";

/// A world whose database can fail, with a spool.
struct Spooling {
    world: World,
    failing: Arc<FailingStore>,
    options: SpoolOptions,
}

impl Spooling {
    async fn new(db: &TestDatabase) -> Self {
        let options = SpoolOptions {
            // A database that is down says so at once; one that is slow is none of these tests'.
            patience: Duration::from_secs(60),
            ..SpoolOptions::new(db.folder().join("spool"), 1 << 24)
        };
        Self::with(db, options).await
    }

    async fn with(db: &TestDatabase, options: SpoolOptions) -> Self {
        let failing = Arc::new(FailingStore::new(db.store()));
        let mut world = World::new(Arc::clone(&failing) as Arc<dyn Store>).await;
        world.bind("money", "invoice.*").await;
        let beside = spooled(&world, &options).await;
        world.intake = world.intake_beside(&world.store, beside).await;
        Self {
            world,
            failing,
            options,
        }
    }

    /// The process ends, wherever it was, and another one starts.
    async fn restart(&mut self) {
        self.world.intake = self.world.another_intake(&self.world.store).await;
        let beside = spooled(&self.world, &self.options).await;
        self.world.intake = self.world.intake_beside(&self.world.store, beside).await;
    }

    async fn take(&self, id: &str) -> Answer {
        self.world
            .accept(self.world.event(id, "invoice.paid"))
            .await
    }

    async fn take_many(&self, count: usize) {
        for number in 0..count {
            let answer = self.take(&format!("evt_{number}")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }

    async fn drain(&self) {
        let drained = async {
            while self.world.intake.spool_drain().await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        let drained = tokio::time::timeout(Duration::from_secs(60), drained).await;
        drained.expect("it drains");
        assert!(!self.status().taking, "nothing is left");
    }

    fn status(&self) -> SpoolStatus {
        self.world.intake.spool_status().expect("there is a spool")
    }

    /// Events, deliveries, receipts and jobs are as many as this.
    async fn assert_stored(&self, count: i64) {
        assert_eq!(self.world.count(OURS).await, count, "events");
        assert_eq!(self.world.count(DELIVERIES).await, count, "deliveries");
        // Most are within their event.
        let receipts = "SELECT (SELECT count(*) FROM receipt AS r WHERE r.remote <> '')
            + (SELECT count(*) FROM event AS e WHERE e.headers IS NOT NULL AND e.remote <> '')";
        assert_eq!(self.world.count(receipts).await, count, "receipts");
        let jobs = self.world.count("SELECT count(*) FROM job").await;
        assert_eq!(jobs, count, "jobs");
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.options.folder).expect("the folder is there");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("read").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|own| own == ending));
        paths
    }
}

/// The spool, opened as soon as whoever had it has let go of it.
async fn spooled(world: &World, options: &SpoolOptions) -> Beside {
    loop {
        let random = Arc::clone(&world.random) as _;
        match Spool::open(options.clone(), random) {
            Err(SpoolError::InUse { .. }) => tokio::task::yield_now().await,
            opened => {
                return Beside {
                    spool: Some(Arc::new(opened.expect("the spool opens"))),
                    ..Beside::default()
                };
            }
        }
    }
}

on_both!(
    with_the_database_gone_everything_verified_is_accepted_and_stored_once_it_is_back,
    |db| async {
        let here = Spooling::new(db).await;
        here.failing.set_down(true);
        let answer = here.take("evt_first").await;
        assert_eq!((answer.status, answer.code), (200, None));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(body["status"], "queued");
        here.take_many(700).await;
        assert!(
            here.world.intake.ready().await.is_ok(),
            "requests are taken"
        );
        assert!(here.world.intake.spool_drain().await.is_err());
        let status = here.status();
        assert!(status.taking && status.oldest.is_some());
        assert_eq!((status.counts.accepted, status.waiting), (701, 701));

        here.failing.set_down(false);
        here.drain().await;
        here.assert_stored(701).await;
        let late = here.world.count("SELECT count(*) FROM object_note").await;
        assert_eq!(late, 701, "they are noted for the index of objects");
        let status = here.status();
        assert_eq!((status.counts.accepted, status.counts.stored), (701, 701));
        assert_eq!((status.bytes, status.oldest), (0, None));
        assert!(here.files("spool").is_empty());
        let id = body["event_ids"][0].as_str().expect("an id").to_owned();
        let id = id.parse().expect("an event's id");
        let kept = here.world.store.read(Scope::System("tests"), move |tx| {
            Box::pin(async move { tx.event_get(id).await })
        });
        let event = kept.await.expect("read").expect("the id that was answered");
        assert_eq!(event.provider_id, "evt_first");
        while here.world.count(TOLD).await == 0 {
            tokio::task::yield_now().await;
        }
    }
);

on_both!(
    copies_before_and_during_the_outage_are_one_event_and_the_first_one_counts,
    |db| async {
        let here = Spooling::new(db).await;
        assert_eq!(here.take("evt_before").await.status, 200);
        here.failing.set_down(true);
        for _ in 0..2 {
            assert_eq!(here.take("evt_before").await.status, 200);
            assert_eq!(here.take("evt_during").await.status, 200);
        }
        let other = stripe_body("evt_during", "invoice.paid", 999_999);
        let other = here.world.signed(&other, SECRET);
        assert_eq!(here.world.accept(other).await.status, 200);
        here.failing.set_down(false);
        here.drain().await;
        assert_eq!(here.world.count(OURS).await, 2);
        assert_eq!(here.world.count("SELECT count(*) FROM job").await, 2);
        assert_eq!(here.world.count(DELIVERIES).await, 6);
        // Verdict 2: the later one, with other content.
        let conflicts = "SELECT count(*) FROM receipt WHERE verdict = 2 AND body_bytes =
            (SELECT max(body_bytes) FROM receipt)";
        assert_eq!(here.world.count(conflicts).await, 1);
    }
);

on_both!(
    what_was_spooled_meets_the_bindings_of_the_day_it_is_stored_on,
    |db| async {
        let here = Spooling::new(db).await;
        here.failing.set_down(true);
        here.take_many(3).await;
        here.failing.set_down(false);
        here.world.bind("more", "*").await;
        here.drain().await;
        assert_eq!(here.world.count(OURS).await, 3);
        assert_eq!(here.world.count("SELECT count(*) FROM job").await, 6);
    }
);

on_both!(
    what_is_not_verified_is_refused_and_not_spooled,
    |db| async {
        let here = Spooling::new(db).await;
        here.failing.set_down(true);
        assert_eq!(here.take("evt_1").await.status, 200);
        let forged = stripe_body("evt_2", "invoice.paid", 1);
        let forged = here.world.signed(&forged, "whsec_somebody_else");
        assert_eq!(here.world.accept(forged).await.status, 401);
        let nobody = here.world.event("evt_3", "invoice.paid");
        let nobody = here.world.intake.accept("nobody", nobody).await;
        assert_eq!(nobody.status, 404);
        assert_eq!(here.status().counts.accepted, 1);
    }
);

on_both!(
    a_commit_whose_answer_is_lost_is_spooled_and_stored_once,
    |db| async {
        let here = Spooling::new(db).await;
        here.failing.fail_after(1);
        assert_eq!(here.take("evt_1").await.status, 200);
        assert_eq!(here.status().counts.accepted, 1);
        here.drain().await;
        assert_eq!(here.status().counts.stored, 1);
        here.assert_stored(1).await;
    }
);

on_both!(
    a_drain_whose_answer_is_lost_stores_nothing_twice,
    |db| async {
        let here = Spooling::new(db).await;
        here.failing.set_down(true);
        here.take_many(20).await;
        here.failing.set_down(false);
        // The first transaction asks whether the database is there, the second one appends.
        here.failing.fail_after(2);
        assert!(here.world.intake.spool_drain().await.is_err());
        assert_eq!(here.status().waiting, 20);
        here.drain().await;
        assert_eq!(here.status().counts.stored, 20);
        here.assert_stored(20).await;
    }
);

on_both!(
    a_process_killed_while_it_spools_or_drains_loses_nothing_and_stores_nothing_twice,
    |db| async {
        let mut here = Spooling::new(db).await;
        here.failing.set_down(true);
        here.take_many(600).await;
        here.failing.set_down(false);
        // It dies after it has committed a first part and knows nothing of it.
        here.failing.fail_after(2);
        assert!(here.world.intake.spool_drain().await.is_err());
        here.restart().await;
        assert!(here.status().taking, "who comes now goes behind");
        assert_eq!(here.status().counts.found, 600);
        assert_eq!(here.take("evt_later").await.status, 200);
        // And once more, with everything stored and the files still there.
        let copies: Vec<(PathBuf, Vec<u8>)> = here
            .files("spool")
            .into_iter()
            .map(|path| (path.clone(), std::fs::read(path).expect("read")))
            .collect();
        here.drain().await;
        here.assert_stored(601).await;
        for (path, bytes) in copies {
            std::fs::write(path, bytes).expect("written");
        }
        here.restart().await;
        assert_eq!(here.status().counts.found, 601);
        here.drain().await;
        assert_eq!(here.status().counts.stored, 601);
        here.assert_stored(601).await;
    }
);

on_both!(
    a_spool_of_a_month_ago_that_was_stored_then_brings_no_second_event,
    |db| async {
        let mut here = Spooling::new(db).await;
        here.failing.set_down(true);
        // Nothing is bound to these, so that retention may take them.
        for number in 0..3 {
            let inbound = here
                .world
                .event(&format!("evt_{number}"), "customer.created");
            assert_eq!(here.world.accept(inbound).await.status, 200);
        }
        here.failing.set_down(false);
        let file = here.files("spool").remove(0);
        let bytes = std::fs::read(&file).expect("read");
        here.drain().await;
        let events = "SELECT count(*) FROM event WHERE kind = 'customer.created'";
        assert_eq!(here.world.count(events).await, 3);
        here.world.clock.advance_ms(31 * 24 * 3_600 * 1_000);
        let until = here.world.clock.now();
        let gone = here
            .world
            .store
            .transact(Scope::System("tests"), move |tx| {
                Box::pin(async move { tx.event_expire(until, 1_000).await })
            });
        gone.await.expect("retention runs");
        assert_eq!(here.world.count(events).await, 0);
        std::fs::write(file, bytes).expect("written");
        here.restart().await;
        here.drain().await;
        // Their receipts are gone with them; the record that they were there stays for ever.
        assert_eq!(here.world.count(events).await, 0);
        assert_eq!(here.status().counts.stored, 3);
    }
);

on_both!(
    a_spool_without_a_database_is_kept_until_there_is_one,
    |db| async {
        let mut here = Spooling::new(db).await;
        here.failing.set_down(true);
        here.take_many(3).await;
        here.world.intake = {
            let plain: Arc<dyn Store> = db.store();
            here.world.another_intake(&plain).await
        };
        let beside = spooled(&here.world, &here.options).await;
        let started = here.world.intake_try(&here.world.store, beside).await;
        assert!(started.is_err(), "it cannot know its sources");
        drop(started);
        assert_eq!(here.files("spool").len(), 1);
        here.failing.set_down(false);
        here.restart().await;
        here.drain().await;
        here.assert_stored(3).await;
    }
);

on_both!(
    a_full_spool_sends_away_and_keeps_what_it_has_acknowledged,
    |db| async {
        let options = SpoolOptions::new(db.folder().join("spool"), 3_000);
        let here = Spooling::with(db, options).await;
        here.failing.set_down(true);
        let mut taken = 0;
        for number in 0..20 {
            let answer = here.take(&format!("evt_{number}")).await;
            match answer.status {
                200 => taken += 1,
                status => {
                    assert_eq!((status, answer.code), (503, Some("store_unavailable")));
                    assert!(answer.retry_after_secs.is_some());
                }
            }
        }
        assert!(taken > 0 && taken < 20, "{taken}");
        assert!(here.status().bytes <= 3_000);
        assert_eq!(here.status().counts.refused, 20 - taken as u64);
        here.failing.set_down(false);
        here.drain().await;
        here.assert_stored(taken).await;
    }
);

/// A disk on which there is no room, or is again.
struct FullDisk(Arc<AtomicBool>);
struct FullFile(Box<dyn Sink>, Arc<AtomicBool>);

impl Disk for FullDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let file = FileSystem.create(path)?;
        Ok(Box::new(FullFile(file, Arc::clone(&self.0))))
    }
}

impl Sink for FullFile {
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) {
            self.0.write(at, &bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write(at, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.0.cut(len)
    }
}

on_both!(
    with_database_and_disk_gone_providers_are_told_to_send_again,
    |db| async {
        let full = Arc::new(AtomicBool::new(false));
        let options = SpoolOptions {
            disk: Arc::new(FullDisk(Arc::clone(&full))),
            ..SpoolOptions::new(db.folder().join("spool"), 1 << 20)
        };
        let mut here = Spooling::with(db, options).await;
        here.failing.set_down(true);
        assert_eq!(here.take("evt_1").await.status, 200);
        full.store(true, Ordering::SeqCst);
        let answer = here.take("evt_2").await;
        assert_eq!(
            (answer.status, answer.code),
            (503, Some("store_unavailable"))
        );
        assert!(here.world.intake.ready().await.is_err());
        full.store(false, Ordering::SeqCst);
        assert_eq!(here.take("evt_3").await.status, 200);
        here.failing.set_down(false);
        here.restart().await;
        assert_eq!(here.status().counts.found, 2);
        here.drain().await;
        here.assert_stored(2).await;
    }
);

on_both!(
    a_database_that_does_not_answer_keeps_nobody_waiting,
    |db| async {
        let options = SpoolOptions {
            patience: Duration::from_millis(50),
            ..SpoolOptions::new(db.folder().join("spool"), 1 << 24)
        };
        let here = Spooling::with(db, options).await;
        here.failing.set_hung(true);
        let mut running = tokio::task::JoinSet::new();
        for number in 0..200 {
            let intake = Arc::clone(&here.world.intake);
            let inbound = here.world.event(&format!("evt_{number}"), "invoice.paid");
            running.spawn(async move {
                let begin = Instant::now();
                let status = intake.accept("stripe", inbound).await.status;
                (status, begin.elapsed())
            });
        }
        while let Some(answered) = running.join_next().await {
            let (status, took) = answered.expect("no panic");
            assert_eq!(status, 200);
            assert!(took < Duration::from_secs(60), "{took:?}");
        }
        assert_eq!(here.status().counts.accepted, 200);
        // What was under way goes on and commits; the drain finds that.
        here.failing.set_hung(false);
        here.drain().await;
        here.assert_stored(200).await;
    }
);

on_both!(
    requests_that_come_while_the_database_goes_and_comes_are_each_stored_once,
    |db| async {
        let here = Spooling::new(db).await;
        let done = Arc::new(AtomicBool::new(false));
        let drains: tokio::task::JoinHandle<()> = {
            let (intake, done): (Arc<Intake>, _) =
                (Arc::clone(&here.world.intake), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    // It fails whenever the database is gone.
                    drop(intake.spool_drain().await);
                    tokio::task::yield_now().await;
                }
            })
        };
        let mut running = tokio::task::JoinSet::new();
        for task in 0..8 {
            let intake = Arc::clone(&here.world.intake);
            let mut inbound: Vec<_> = (0..40)
                .map(|number| {
                    here.world
                        .event(&format!("evt_{task}_{number}"), "invoice.paid")
                })
                .collect();
            let failing = Arc::clone(&here.failing);
            running.spawn(async move {
                for (number, inbound) in inbound.drain(..).enumerate() {
                    if task == 0 {
                        failing.set_down(number % 4 < 2);
                    }
                    assert_eq!(intake.accept("stripe", inbound).await.status, 200);
                }
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.expect("no panic");
        }
        here.failing.set_down(false);
        done.store(true, Ordering::SeqCst);
        drains.await.expect("no panic");
        here.drain().await;
        let counts = here.status().counts;
        assert_eq!(counts.accepted, counts.stored);
        assert!(counts.accepted > 0);
        here.assert_stored(320).await;
    }
);

on_both!(
    what_cannot_be_stored_any_more_is_set_aside_and_holds_nothing_up,
    |db| async {
        let mut here = Spooling::new(db).await;
        here.failing.set_down(true);
        here.take_many(2).await;
        here.failing.set_down(false);
        let (tenant, source) = (here.world.tenant, here.world.source);
        let removed = here
            .world
            .store
            .transact(Scope::System("tests"), move |tx| {
                Box::pin(async move {
                    for binding in tx.binding_list().await? {
                        tx.binding_delete(tenant, binding.id).await?;
                    }
                    tx.source_delete(tenant, source).await
                })
            });
        assert!(removed.await.expect("the source is removed"));
        here.restart().await;
        here.drain().await;
        let counts = here.status().counts;
        assert_eq!((counts.found, counts.stored, counts.set_aside), (2, 0, 2));
        assert_eq!(here.files("aside").len(), 1);
        assert!(here.files("spool").is_empty());
        // Called by the other name, it is tried again.
        let aside = here.files("aside").remove(0);
        here.world.intake = here.world.another_intake(&db.store()).await;
        std::fs::rename(&aside, aside.with_extension("spool")).expect("renamed");
        here.restart().await;
        assert_eq!(here.status().counts.found, 2);
    }
);

on_both!(
    what_was_spooled_says_when_a_secret_was_last_used,
    |db| async {
        let mut spooling = Spooling::new(db).await;
        let now = spooling.world.clock.now();
        spooling.failing.set_down(true);
        spooling.take_many(1).await;
        // Whoever noted it when it came has ended.
        spooling.world.samples = Arc::new(Samples::default());
        spooling.failing.set_down(false);
        spooling.world.clock.advance_ms(60_000);
        spooling.restart().await;
        spooling.drain().await;
        let (world, later) = (&spooling.world, spooling.world.clock.now());
        let flushed = world.samples.flush(&*world.store, later).await;
        flushed.expect("they are written");
        assert_eq!(world.last_used().await, Some(now));
    }
);

on_both!(
    while_the_database_is_gone_the_last_use_of_a_secret_is_kept,
    |db| async {
        let spooling = Spooling::new(db).await;
        let (world, failing) = (&spooling.world, &spooling.failing);
        let now = world.clock.now();
        let source = world.store.read(Scope::System("tests"), {
            let id = world.source;
            move |tx| Box::pin(async move { tx.source_get(id).await })
        });
        let source = source.await.expect("it is read").expect("it is there");
        let secret = Some(source.secrets[0].id);
        world.samples.secret_used(secret, now);
        // What was received before may be noted after it.
        world.samples.secret_used(secret, now.minus_ms(1_000));
        failing.set_down(true);
        let flush = || world.samples.flush(&*world.store, now);
        flush().await.expect_err("there is no database");
        failing.set_down(false);
        flush().await.expect("they are written");
        assert_eq!(world.last_used().await, Some(now));
    }
);
