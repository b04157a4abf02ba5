//! The audit log from outside: reads are in it before they are answered, it is sealed, taken out and verified.

use serde_json::{Value, json};

use crate::{
    client::{Caller, World},
    on_both_servers,
    server::{Server, Settings, text},
};

/// The entries of a query, newest first.
async fn entries(caller: &Caller, query: &str) -> Vec<Value> {
    let found = caller
        .get(&format!("/v1/audit?limit=200&{query}"))
        .await
        .ok();
    found["items"].as_array().cloned().expect("a list")
}

on_both_servers!(
    whoever_reads_a_payload_is_in_the_log_when_the_answer_comes,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make_whole(&owner, "a").await;
        let reader = owner
            .key(json!({ "name": "reader", "role": "viewer" }))
            .await;
        let reads = [
            (
                format!("/v1/events/{}", world.event),
                "event.read",
                &*world.event,
            ),
            (
                format!("/v1/events/{}/payload", world.event),
                "event.read",
                &*world.event,
            ),
            (
                format!("/v1/events/{}/filter?filter=true", world.event),
                "event.filter",
                &*world.event,
            ),
            (
                format!("/v1/waiting-events/{}", world.waiting),
                "event.read",
                &*world.waiting,
            ),
            (
                format!("/v1/receipts/{}", world.receipt),
                "receipt.read",
                &*world.receipt,
            ),
            (format!("/v1/jobs/{}", world.job), "job.read", &*world.job),
            (
                "/v1/dead-letters/export?code=connect_failed".into(),
                "dead_letter.export",
                "",
            ),
            ("/v1/configuration".into(), "configuration.export", ""),
        ];
        for (path, action, subject) in &reads {
            let answer = reader.get(path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            let told = entries(&owner, &format!("actor=key:reader&action={action}")).await;
            assert_eq!(told[0]["subject"], *subject, "{path}");
            if *action == "dead_letter.export" {
                assert_eq!(told[0]["detail"]["query"], "code=connect_failed");
            }
            // Of one that waits it is the source's tenant; what is read of all tenants is in nobody's.
            match *action {
                "configuration.export" | "dead_letter.export" => {
                    assert_eq!(told[0]["tenant_id"], Value::Null, "{path}");
                }
                _ if subject == &world.waiting => {
                    assert!(told[0]["tenant_id"].is_string(), "{path}");
                    assert_ne!(told[0]["tenant_id"], world.tenant.as_str(), "{path}");
                }
                _ => assert_eq!(told[0]["tenant_id"], world.tenant.as_str(), "{path}"),
            }
        }
        let path = format!("/v1/dead-letters/export?tenant={}", world.tenant);
        assert_eq!(reader.get(&path).await.status, 200);
        let told = entries(&owner, "actor=key:reader&action=dead_letter.export").await;
        assert_eq!(told[0]["tenant_id"], world.tenant.as_str());
        // The same once more within a minute is the same entry; what is not there was not read.
        let count = entries(&owner, "actor=key:reader").await.len();
        assert_eq!(reader.get(&reads[0].0).await.status, 200);
        let nothing = reader
            .get("/v1/events/evt_00000000000000000000000000")
            .await;
        assert_eq!(nothing.status, 404);
        assert_eq!(entries(&owner, "actor=key:reader").await.len(), count);
        // A list shows no payload.
        assert_eq!(reader.get("/v1/events").await.status, 200);
        assert_eq!(entries(&owner, "actor=key:reader").await.len(), count);
    }
);

on_both_servers!(
    many_reads_at_once_are_all_in_the_log,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make_whole(&owner, "a").await;
        let mut readers = Vec::new();
        for number in 0..20 {
            let name = format!("reader-{number}");
            readers.push(owner.key(json!({ "name": name, "role": "viewer" })).await);
        }
        let tasks: Vec<_> = readers
            .into_iter()
            .map(|reader| {
                let path = format!("/v1/jobs/{}", world.job);
                tokio::spawn(async move { reader.get(&path).await.status })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.expect("it ends"), 200);
        }
        let told = entries(&owner, &format!("action=job.read&subject={}", world.job)).await;
        let mut actors: Vec<&str> = told
            .iter()
            .filter_map(|one| one["actor"].as_str())
            .collect();
        actors.retain(|actor| actor.starts_with("key:reader-"));
        actors.sort_unstable();
        actors.dedup();
        assert_eq!(actors.len(), 20);
    }
);

on_both_servers!(
    what_somebody_did_is_found_by_who_what_and_when,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let sources = entries(&owner, "action=source.").await;
        assert!(sources.iter().all(|one| {
            one["action"]
                .as_str()
                .is_some_and(|action| action.starts_with("source."))
        }));
        assert!(!sources.is_empty());
        let about = entries(&owner, &format!("subject={}", world.source)).await;
        assert_eq!(
            about.last().map(|one| one["action"].clone()),
            Some(json!("source.create"))
        );
        assert_eq!(entries(&owner, "actor=key:nobody").await.len(), 0);
        assert_eq!(entries(&owner, "to=2020-01-01T00:00:00Z").await.len(), 0);
        let bound = owner
            .key(json!({ "name": "own", "role": "owner", "tenant_id": world.tenant }))
            .await;
        let own = entries(&bound, "").await;
        assert!(
            own.iter()
                .all(|one| one["tenant_id"] == world.tenant.as_str())
        );
        let refused = bound.get("/v1/audit/export").await;
        assert_eq!(refused.problem(), (403, "tenant_forbidden".into()));
    }
);

#[test]
fn the_log_is_taken_out_and_verified_on_sqlite() {
    taken_out_and_verified(&mut Server::sqlite());
}

#[test]
fn the_log_is_taken_out_and_verified_on_postgres() {
    let mut server = mainstay_testkit::run(Server::postgres());
    taken_out_and_verified(&mut server);
    mainstay_testkit::run(async { drop(server) });
}

fn taken_out_and_verified(server: &mut Server) {
    for name in ["one", "two", "three"] {
        server.json(&["tenant", "create", name]);
    }
    let sealed = |listed: &Value| {
        let items = listed["items"].as_array().expect("a list");
        items.len() >= 3 && items.iter().all(|one| one["position"].is_i64())
    };
    server.until(&["audit", "list", "--action", "tenant."], sealed);
    let head = server.run(&["audit", "head"]);
    let noted = head.out.trim().to_owned();
    let live = server.json(&["audit", "verify", "--anchor", &noted]);
    assert_eq!(live["intact"], true);
    let file = server.file("log.jsonl");
    let file = text(&file);
    let exported = server.run(&["audit", "export", "-o", file]);
    assert_eq!(exported.code, 0, "{}", exported.err);
    let verified = server.json(&["audit", "verify", file, "--anchor", &noted]);
    assert_eq!(
        (&verified["intact"], &verified["after"]),
        (&json!(true), &json!(0))
    );
    assert!(verified["entries"].as_i64().is_some_and(|count| count >= 3));
    let part = server.file("part.jsonl");
    let part = text(&part);
    assert_eq!(
        server
            .run(&["audit", "export", "--after", "2", "-o", part])
            .code,
        0
    );
    assert_eq!(server.json(&["audit", "verify", part])["after"], 2);
    let doctor = server.run(&["doctor"]);
    assert!(doctor.out.contains("audit log"), "{}", doctor.out);

    let whole = std::fs::read_to_string(file).expect("it is there");
    let changed = whole.replacen("tenant.create", "tenant.delete", 1);
    std::fs::write(file, &changed).expect("it is written");
    let found = server.run(&["audit", "verify", file]);
    assert_eq!(found.code, 1, "{}", found.out);
    let place = whole
        .lines()
        .position(|line| line.contains("tenant.create"))
        .expect("there is one");
    assert!(
        found.err.contains(&format!("entry {place} ")),
        "{}",
        found.err
    );
}
