//! Growing up: an installation with a bit of everything moves to PostgreSQL and goes on there, or nothing happens at all.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::{
    client::{Caller, World, text},
    receiver::Receiver,
    server::{Server, Settings, binary},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The key of these tests alone.
const KEY: &str = "bWFpbnN0YXkgdGVzdCBrZXksIG5vdCBhIHNlY3JldC4=";
const MOVE: [&str; 2] = ["move", "sqlite-to-postgres"];

fn sealed() -> Settings {
    Settings {
        env: vec![("MAINSTAY_MASTER_KEY", KEY.to_owned())],
        ..Settings::default()
    }
}

/// What a served installation has, and what is to be found of it afterwards.
struct Before {
    world: World,
    receiver: Receiver,
    event: String,
    waiting: String,
    delayed: String,
    ticks: i64,
}

async fn hook(server: &Server, note: &str) -> Value {
    let body = json!({ "type": "order.paid", "note": note });
    let nobody = Caller::nobody(server);
    nobody.webhook("orders", SECRET, "msg_1", &body).await.ok()
}

/// A job for a worker that has not come yet.
async fn job(owner: &Caller, more: Value) -> String {
    let mut job =
        json!({ "kind": "letter.print", "queue": "letters", "payload": { "to": "Anna" } });
    for (name, value) in more.as_object().into_iter().flatten() {
        job[name] = value.clone();
    }
    text(&owner.post("/v1/jobs", &job).await.ok(), "/id")
}

async fn ticks(owner: &Caller) -> i64 {
    let count =
        json!({ "statement": "SELECT count(*) FROM schedule_tick WHERE job_id IS NOT NULL" });
    let found = owner.post("/v1/sql", &count).await.ok();
    let count = found["rows"][0][0].clone();
    let text = count.as_str().map(str::to_owned);
    text.unwrap_or_else(|| count.to_string())
        .parse()
        .expect("a number")
}

async fn fill(server: &Server) -> Before {
    let owner = Caller::owner(server);
    let world = World::make_whole(&owner, "acme").await;
    let receiver = Receiver::answering(500);
    let new = json!({
        "name": "shop", "url": receiver.url,
        "retry": { "strategy": "schedule", "attempts_max": 50, "delays_ms": [1000] },
        "breaker_settings": { "failures_to_open": 50 },
    });
    let endpoint = owner.post("/v1/endpoints", &new).await.ok();
    let new = json!({ "name": "orders", "scheme": "standard_webhooks", "secret": SECRET });
    owner.post("/v1/sources", &new).await.ok();
    let new = json!({
        "source": "orders", "type_pattern": "*", "endpoint_id": text(&endpoint, "/endpoint/id"),
    });
    owner.post("/v1/bindings", &new).await.ok();
    let event = text(&hook(server, "first").await, "/event_ids/0");
    receiver.next();
    let new = json!({ "name": "tick", "cron": "* * * * * *", "kind": "noop" });
    owner.post("/v1/schedules", &new).await.ok();
    while ticks(&owner).await == 0 {}
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(5);
    Before {
        waiting: job(&owner, json!({})).await,
        delayed: job(&owner, json!({ "run_at": soon.to_string() })).await,
        ticks: ticks(&owner).await,
        world,
        receiver,
        event,
    }
}

/// The jobs that a worker is handed, so many.
async fn pulled(owner: &Caller, count: usize) -> Vec<String> {
    let asked = json!({ "worker": "w", "queues": ["letters"], "max": 1, "wait_secs": 30 });
    let mut ids = Vec::new();
    while ids.len() < count {
        let answer = owner.post("/v1/workers/pull", &asked).await;
        // A server that has just begun is asked again.
        if answer.status == 503 {
            continue;
        }
        for job in answer.ok()["jobs"].as_array().into_iter().flatten() {
            let outcome = json!({ "token": job["token"], "outcome": "completed" });
            let told = json!({ "worker": "w", "outcomes": [outcome] });
            owner.post("/v1/workers/report", &told).await.ok();
            ids.push(text(job, "/id"));
        }
    }
    ids.sort();
    ids
}

/// That everything which was there goes on.
async fn goes_on(server: &Server, before: &Before) {
    let owner = Caller::owner(server);
    let path = format!("/v1/events/{}", before.event);
    let detail = owner.get(&path).await.ok();
    assert_eq!(detail["payload"]["note"], "first", "what is sealed opens");
    let again = hook(server, "first").await;
    assert_eq!(again["status"], "duplicate");
    before.receiver.answer(200);
    owner
        .until(&path, |detail| detail["status"] == "success")
        .await;
    let push = before.receiver.next();
    assert_eq!(push.header("mainstay-event-id"), before.event);
    let mut jobs = [before.waiting.clone(), before.delayed.clone()];
    jobs.sort();
    assert_eq!(pulled(&owner, 2).await, jobs);
    let letters = format!("/v1/dead-letters?tenant={}", before.world.tenant);
    let letters = owner.get(&letters).await.ok();
    let letters = letters["items"].as_array().cloned().unwrap_or_default();
    assert!(letters.iter().any(|one| one["job_id"] == before.world.job));
    let run = format!("/v1/saga-runs/{}", before.world.saga_run);
    let look = json!({ "step": "look", "approved": true });
    owner.post(&format!("{run}/decide"), &look).await.ok();
    owner
        .until(&run, |run| run["steps"][0]["state"] == "done")
        .await;
    let link = format!("/v1/sources/{}/links", before.world.source);
    assert_eq!(
        owner.get(&link).await.ok()["items"][0]["id"],
        before.world.link
    );
    while ticks(&owner).await <= before.ticks {}
    let lost = "SELECT t.tick FROM schedule_tick AS t LEFT JOIN job AS j ON j.tenant_id = t.tenant_id AND j.id = t.job_id
        WHERE t.job_id IS NOT NULL AND j.id IS NULL";
    let lost = owner.post("/v1/sql", &json!({ "statement": lost })).await;
    assert_eq!(lost.ok()["rows"], json!([]), "each tick has its one job");
    let verified = server.json(&["audit", "verify"]);
    assert_eq!(verified["intact"], true, "{verified}");
    let moves = owner.get("/v1/audit?action=installation.move").await.ok();
    assert_eq!(moves["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_installation_with_a_bit_of_everything_moves_goes_on_and_comes_back() {
    mainstay_testkit::run(async {
        let mut server = Server::sqlite_with(sealed());
        let before = fill(&server).await;
        assert_eq!(server.run(&MOVE).code, 2, "where to is not said");
        server.name_postgres().await;
        let planned = server.json(&["move", "sqlite-to-postgres", "--plan"]);
        assert_eq!(planned["outcome"], "copied, verified and taken back");
        assert!(planned["rows"].as_i64() > Some(100), "{planned}");
        let refused = server.run(&MOVE);
        assert_eq!(refused.code, 4, "the server runs: {}", refused.err);
        server.stop();
        assert_eq!(
            server.run(&["move", "back", "-y"]).code,
            3,
            "nothing was moved"
        );

        let moved = server.json(&MOVE);
        assert_eq!(moved["outcome"], "moved and verified");
        let named = |table: &str| {
            let tables = moved["tables"].as_array().cloned().unwrap_or_default();
            let found = tables.into_iter().find(|one| one["table"] == table);
            found.unwrap_or_else(|| panic!("{table} is not listed"))
        };
        for table in [
            "event",
            "dedup",
            "job",
            "attempt",
            "dead_letter",
            "saga_run",
            "audit",
            "data_key",
            "api_key",
        ] {
            assert!(named(table)["rows"].as_i64() > Some(0), "{table}: {moved}");
        }
        // Without the database's name it would be the old data.
        let mut old = binary();
        let old = old
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(server.data())
            .env("MAINSTAY_MASTER_KEY", KEY)
            .output()
            .expect("it ends");
        let said = String::from_utf8_lossy(&old.stderr).into_owned();
        assert_eq!(old.status.code(), Some(4), "{said}");
        assert!(said.contains("move back"), "{said}");
        assert_eq!(server.run(&MOVE).code, 4, "it was moved");
        server.without_postgres(|server| {
            let doctor = server.run(&["doctor"]);
            assert!(doctor.out.contains("was moved to"), "{}", doctor.out);
        });

        server.start_again();
        goes_on(&server, &before).await;
        let refused = server.run(&["move", "back", "-y"]);
        assert_eq!(refused.code, 4, "the server runs: {}", refused.err);
        server.stop();
        assert_eq!(server.run(&["move", "back"]).code, 4, "nobody said yes");
        let back = server.json(&["move", "back", "-y"]);
        assert!(back["left_behind"]["jobs"].as_i64() > Some(0), "{back}");
        server.forget_postgres();
        server.start_again();
        let owner = Caller::owner(&server);
        let path = format!("/v1/events/{}", before.event);
        assert_eq!(owner.get(&path).await.ok()["payload"]["note"], "first");
        assert!(
            pulled(&owner, 2).await.contains(&before.waiting),
            "once more"
        );
    });
}

#[test]
fn a_move_beside_the_running_server_brings_what_came_meanwhile() {
    mainstay_testkit::run(async {
        let mut server = Server::sqlite_with(sealed());
        let before = fill(&server).await;
        let owner = Caller::owner(&server);
        server.name_postgres().await;
        let mut moving = server.command(&["move", "sqlite-to-postgres", "--live", "--json"]);
        let mut moving = moving
            .env("MAINSTAY_MASTER_KEY", KEY)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut said = BufReader::new(moving.stderr.take().expect("it is piped")).lines();
        let ready = said.any(|line| line.is_ok_and(|line| line.contains("stop the server now")));
        assert!(ready, "it is told when to stop");
        // What comes now is not copied yet; what goes now was.
        let body = json!({ "type": "order.paid", "note": "late" });
        let late = Caller::nobody(&server)
            .webhook("orders", SECRET, "msg_2", &body)
            .await
            .ok();
        let gone = json!({
            "selection": { "job_ids": [before.world.job] }, "reason": "a test", "plan": false,
        });
        let more = job(&owner, json!({})).await;
        owner.post("/v1/dead-letters/discard", &gone).await.ok();
        server.stop();
        let moved = moving.wait_with_output().expect("it ends");
        let moved: Value = serde_json::from_slice(&moved.stdout).expect("it is JSON");
        assert_eq!(moved["outcome"], "moved and verified");
        assert!(moved["ahead"]["rows"].as_i64() > Some(10), "{moved}");
        assert!(moved["ahead"]["rows_again"].as_i64() > Some(0), "{moved}");
        server.start_again();
        let owner = Caller::owner(&server);
        let event = format!("/v1/events/{}", text(&late, "/event_ids/0"));
        assert_eq!(owner.get(&event).await.ok()["payload"]["note"], "late");
        let letters = format!("/v1/dead-letters?tenant={}", before.world.tenant);
        let letters = owner.get(&letters).await.ok().to_string();
        assert!(!letters.contains(&before.world.job), "{letters}");
        let mut jobs = [before.waiting.clone(), before.delayed.clone(), more];
        jobs.sort();
        assert_eq!(pulled(&owner, 3).await, jobs);
        assert_eq!(server.json(&["audit", "verify"])["intact"], true);
    });
}

#[test]
fn a_move_that_is_killed_in_the_middle_leaves_nothing_and_can_be_begun_again() {
    mainstay_testkit::run(async {
        let mut server = Server::sqlite_with(sealed());
        let before = fill(&server).await;
        server.stop();
        server.name_postgres().await;
        assert_eq!(server.run(&["migrate", "up"]).code, 0);
        // Whoever copies gets to the runs of sagas late, and no further while somebody looks at them.
        let looker = server.database().client().await;
        looker
            .batch_execute("BEGIN; LOCK TABLE saga_run IN ACCESS SHARE MODE")
            .await
            .expect("it is locked");
        let mut moving = server.command(&MOVE);
        let mut moving = moving
            .env("MAINSTAY_MASTER_KEY", KEY)
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let other = server.database().client().await;
        let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'saga_run'::regclass AND NOT granted)";
        loop {
            let row = other.query_one(waits, &[]).await.expect("it answers");
            if row.get(0) {
                break;
            }
            assert!(
                moving.try_wait().expect("it can be asked").is_none(),
                "it still runs"
            );
        }
        moving.kill().expect("it runs");
        moving.wait().expect("it ends");
        // Its connection would be found out when it is given the lock.
        looker.batch_execute("ROLLBACK").await.expect("it ends");
        let gone = "SELECT NOT EXISTS (SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
            WHERE l.relation = 'tenant'::regclass AND l.mode = 'AccessExclusiveLock' AND a.datname = current_database())";
        loop {
            let row = other.query_one(gone, &[]).await.expect("it answers");
            if row.get(0) {
                break;
            }
        }
        let rows = "SELECT (SELECT count(*) FROM tenant) + (SELECT count(*) FROM event) + (SELECT count(*) FROM audit)";
        let rows = other.query_one(rows, &[]).await.expect("it answers");
        assert_eq!(rows.get::<_, i64>(0), 0, "nothing is left");
        drop((looker, other));

        server.without_postgres(Server::start_again);
        let owner = Caller::owner(&server);
        let path = format!("/v1/events/{}", before.event);
        owner.get(&path).await.ok();
        server.stop();
        let moved = server.json(&MOVE);
        assert_eq!(moved["outcome"], "moved and verified");
        server.start_again();
        goes_on(&server, &before).await;
    });
}
