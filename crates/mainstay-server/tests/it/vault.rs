//! Encryption at rest as an operator meets it: keys, rotation, erasure, and a start without the key.

use mainstay_domain::vault::MasterKey;
use serde_json::{Value, json};

use crate::{
    client::{Caller, text},
    on_both_servers,
    receiver::Receiver,
    server::{Server, Settings, text as path_text},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The key of these tests alone.
const KEY: &str = "bWFpbnN0YXkgdGVzdCBrZXksIG5vdCBhIHNlY3JldC4=";

fn sealed() -> Settings {
    Settings {
        env: vec![("MAINSTAY_MASTER_KEY", KEY.to_owned())],
        ..Settings::default()
    }
}

fn id_of(key: &str) -> String {
    let key: MasterKey = key.parse().expect("a key");
    key.id().to_string()
}

/// A source of the first tenant's, and an event that came in by it.
async fn event(owner: &Caller, nobody: &Caller) -> String {
    let new = json!({ "name": "orders", "scheme": "standard_webhooks", "secret": SECRET });
    owner.post("/v1/sources", &new).await.ok();
    let body = json!({ "type": "order.paid", "note": "a payload to be erased" });
    let answer = nobody.webhook("orders", SECRET, "msg_1", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let found = owner.get("/v1/events").await.ok();
    text(&found, "/items/0/id")
}

on_both_servers!(
    what_is_sealed_is_served_until_its_tenant_is_erased,
    sealed(),
    |server| async {
        let (owner, nobody) = (Caller::owner(server), Caller::nobody(server));
        let event = event(&owner, &nobody).await;
        let detail = owner.get(&format!("/v1/events/{event}")).await.ok();
        assert_eq!(detail["payload"]["note"], "a payload to be erased");
        let vault = owner.get("/v1/vault").await.ok();
        assert_eq!(
            (&vault["on"], &vault["whole"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(vault["master_keys"][0]["id"], id_of(KEY));
        let tenant = owner.get("/v1/tenants").await.ok();
        let (id, slug) = (text(&tenant, "/items/0/id"), text(&tenant, "/items/0/slug"));
        let path = format!("/v1/tenants/{id}/erase");
        let wrong = owner.post(&path, &json!({ "confirm": "another" })).await;
        assert_eq!(wrong.problem(), (400, "validation_failed".into()));
        let erased = owner.post(&path, &json!({ "confirm": slug })).await.ok();
        assert!(erased["keys_destroyed"].as_i64() > Some(0), "{erased}");
        let gone = owner.get(&format!("/v1/events/{event}/payload")).await;
        assert_eq!(gone.problem(), (410, "erased".into()));
        let detail = owner.get(&format!("/v1/events/{event}")).await.ok();
        assert_eq!(detail["payload_erased"], true);
        assert_eq!(detail["payload"], Value::Null);
        let audit = owner.get("/v1/audit?action=tenant.erase").await.ok();
        assert_eq!(audit["items"].as_array().map(Vec::len), Some(1));
    }
);

on_both_servers!(
    a_rotation_is_begun_and_waited_for_by_the_command_line,
    sealed(),
    |server| async {
        let (owner, nobody) = (Caller::owner(server), Caller::nobody(server));
        let event = event(&owner, &nobody).await;
        let done = server.json(&["vault", "rotate", "--seal", "--wait"]);
        assert_eq!(
            (&done["phase"], &done["values_unreadable"]),
            (&json!("done"), &json!(0))
        );
        let viewer = owner.key(json!({ "name": "v", "role": "viewer" })).await;
        viewer.get("/v1/vault").await.ok();
        let admin = owner.key(json!({ "name": "a", "role": "admin" })).await;
        let rotation = json!({ "mode": "master" });
        let begun = admin.post("/v1/vault/rotations", &rotation).await;
        assert_eq!(begun.status, 403);
        let detail = owner.get(&format!("/v1/events/{event}")).await.ok();
        assert_eq!(detail["payload"]["note"], "a payload to be erased");
    }
);

#[tokio::test]
async fn a_server_without_the_master_key_does_not_start_and_says_which_is_missing() {
    let mut server = Server::sqlite_with(sealed());
    let (owner, nobody) = (Caller::owner(&server), Caller::nobody(&server));
    event(&owner, &nobody).await;
    server.stop();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let other = MasterKey::make().expect("there is randomness");
    for variables in [&[][..], &[("MAINSTAY_MASTER_KEY", &*other)][..]] {
        let ran = server.run_with(&serve, variables);
        assert_ne!(ran.code, 0);
        assert!(ran.err.contains(&id_of(KEY)), "{}", ran.err);
        assert!(!ran.err.contains(KEY), "a key is never shown");
    }
}

#[test]
fn without_a_master_key_it_says_so_and_erases_nothing() {
    let server = Server::sqlite();
    let status = server.json(&["vault", "status"]);
    assert_eq!(status["on"], false);
    let refused = server.run(&["vault", "rotate"]);
    assert_ne!(refused.code, 0);
    let doctor = server.run(&["doctor"]);
    assert!(doctor.out.contains("stored as they are"), "{}", doctor.out);
}

on_both_servers!(
    what_is_on_its_way_for_an_erased_tenant_ends_as_a_dead_letter_and_the_audit_log_still_holds,
    sealed(),
    |server| async {
        let (owner, nobody) = (Caller::owner(server), Caller::nobody(server));
        let receiver = Receiver::answering(500);
        let endpoint = json!({
            "name": "app", "url": receiver.url,
            "retry": { "strategy": "schedule", "attempts_max": 9, "delays_ms": [3000] },
        });
        let endpoint = owner.post("/v1/endpoints", &endpoint).await.ok();
        let source = json!({ "name": "orders", "scheme": "standard_webhooks", "secret": SECRET });
        owner.post("/v1/sources", &source).await.ok();
        let binding = json!({
            "source": "orders", "type_pattern": "*", "endpoint_id": text(&endpoint, "/endpoint/id"),
        });
        owner.post("/v1/bindings", &binding).await.ok();
        let body = json!({ "type": "order.paid", "note": "a payload to be erased" });
        nobody.webhook("orders", SECRET, "msg_1", &body).await.ok();
        let first = receiver.next();
        assert_eq!(first.body, body.to_string().as_bytes());

        let tenant = owner.get("/v1/tenants").await.ok();
        let (id, slug) = (text(&tenant, "/items/0/id"), text(&tenant, "/items/0/slug"));
        let erase = format!("/v1/tenants/{id}/erase");
        owner.post(&erase, &json!({ "confirm": slug })).await.ok();
        let died = |found: &Value| found.pointer("/items/0").is_some();
        let letters = owner.until("/v1/dead-letters", died).await;
        let letter = &letters["items"][0];
        assert_eq!(
            (&letter["category"], &letter["code"]),
            (&json!("validation"), &json!("erased")),
            "{letter:#}"
        );
        assert!(receiver.is_quiet(), "nothing of it was sent any more");
        let again = nobody.webhook("orders", SECRET, "msg_1", &body).await;
        assert_eq!(again.status, 401, "the source's secret went as well");
        let verified = server.run(&["audit", "verify"]);
        assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
        let file = server.file("audit.jsonl");
        let file = path_text(&file);
        let exported = server.run(&["audit", "export", "-o", file]);
        assert_eq!(exported.code, 0, "{}", exported.err);
        let verified = server.run(&["audit", "verify", file]);
        assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    }
);

on_both_servers!(
    a_backup_that_was_restored_is_served_with_its_master_key_and_with_no_other,
    sealed(),
    |server| async {
        let event = {
            let (owner, nobody) = (Caller::owner(server), Caller::nobody(server));
            event(&owner, &nobody).await
        };
        let file = server.file("sealed.backup");
        let file = path_text(&file);
        let taken = server.run(&["backup", file]);
        assert_eq!(taken.code, 0, "{}", taken.err);
        assert_eq!(server.stop(), Some(0));
        let restored = server.run(&["restore", file, "--force"]);
        assert_eq!(restored.code, 0, "{}", restored.err);
        let serve = ["serve", "--listen", "127.0.0.1:0"];
        let other = MasterKey::make().expect("there is randomness");
        for variables in [&[][..], &[("MAINSTAY_MASTER_KEY", &*other)][..]] {
            let ran = server.run_with(&serve, variables);
            assert_ne!(ran.code, 0);
            assert!(ran.err.contains(&id_of(KEY)), "{}", ran.err);
            assert!(!ran.err.contains(KEY) && !ran.err.contains(&other));
        }
        // Nothing was changed by trying.
        server.start_again();
        let owner = Caller::owner(server);
        let detail = owner.get(&format!("/v1/events/{event}")).await.ok();
        assert_eq!(detail["payload"]["note"], "a payload to be erased");
    }
);
