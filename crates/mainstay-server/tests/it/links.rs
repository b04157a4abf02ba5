//! Links and waiting events through the API, the door and the command line.

use mainstay_domain::intake::scheme::{Message, Scheme, Secret, sign};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Caller, text},
    on_both_servers,
    server::{Server, Settings},
};

const SECRET: &str = "whsec_of_the_test";

/// A Stripe source that finds the tenant by the connected account.
async fn source(owner: &Caller) -> String {
    let rule = json!({ "find": [{ "pointer": "/account" }] });
    let new = json!({ "name": "connect", "scheme": "stripe", "secret": SECRET, "settings": { "tenant": rule } });
    let made = owner.post("/v1/sources", &new).await.ok();
    assert_eq!(
        made["source"]["settings"]["tenant"]["find"][0]["pointer"],
        "/account"
    );
    text(&made, "/source/id")
}

async fn tenant(owner: &Caller, slug: &str) -> String {
    let made = owner
        .post("/v1/tenants", &json!({ "name": slug, "slug": slug }))
        .await;
    text(&made.ok(), "/id")
}

async fn sent(nobody: &Caller, id: &str, account: &str) -> Answer {
    let body = json!({ "id": id, "object": "event", "type": "invoice.paid", "account": account })
        .to_string();
    let message = Message {
        id,
        kind: "invoice.paid",
        timestamp_secs: jiff::Timestamp::now().as_second(),
        body: body.as_bytes(),
    };
    let headers = sign(&Scheme::Stripe, &Secret::from(SECRET), &message).expect("signed");
    nobody.inbound("connect", headers, body).await
}

async fn items(caller: &Caller, path: &str) -> Vec<Value> {
    let found = caller.get(path).await.ok();
    found["items"].as_array().cloned().unwrap_or_default()
}

on_both_servers!(
    what_waits_is_shown_by_value_and_given_away_by_a_link,
    Settings::default(),
    |server| async {
        let (owner, nobody) = (Caller::owner(server), Caller::nobody(server));
        let (source, acme) = (source(&owner).await, tenant(&owner, "acme").await);
        for (id, account) in [
            ("evt_1", "acct_1"),
            ("evt_2", "acct_1"),
            ("evt_3", "acct_2"),
        ] {
            assert_eq!(sent(&nobody, id, account).await.status, 200);
        }
        let waiting = format!("/v1/sources/{source}/waiting");
        let counts = items(&owner, &waiting).await;
        let counts: Vec<_> = counts
            .iter()
            .map(|one| (text(one, "/value"), one["events"].as_i64()))
            .collect();
        assert_eq!(
            counts,
            [
                ("acct_1".to_owned(), Some(2)),
                ("acct_2".to_owned(), Some(1))
            ]
        );
        let first = owner.get(&format!("{waiting}?limit=1")).await.ok();
        let rest = items(
            &owner,
            &format!("{waiting}?cursor={}", text(&first, "/next_cursor")),
        )
        .await;
        assert_eq!(rest.len(), 1);
        let listed = items(&owner, "/v1/waiting-events?source=connect&value=acct_1").await;
        assert_eq!(listed.len(), 2);
        let id = text(&listed[1], "/id");
        let shown = owner.get(&format!("/v1/waiting-events/{id}")).await.ok();
        assert_eq!(shown["payload"]["account"], "acct_1");
        assert_eq!(shown["receipts"].as_array().map(Vec::len), Some(1));
        let payload = owner.get(&format!("/v1/waiting-events/{id}/payload")).await;
        assert!(payload.text.contains("evt_1"), "{}", payload.text);
        assert_eq!(owner.get(&format!("/v1/events/{id}")).await.status, 404);
        let metrics = owner.get("/metrics").await.text;
        assert!(
            metrics.contains("mainstay_events_waiting{source=\"connect\"} 3"),
            "{metrics}"
        );

        let links = format!("/v1/sources/{source}/links");
        let new = json!({ "links": [{ "value": "acct_1", "tenant": "acme" }] });
        assert_eq!(
            owner.post(&links, &new).await.ok(),
            json!({ "added": 1, "known": 0 })
        );
        assert_eq!(
            owner.post(&links, &new).await.ok(),
            json!({ "added": 0, "known": 1 })
        );
        let given = owner
            .until_answer(&format!("/v1/events/{id}"), |answer| answer.status == 200)
            .await
            .ok();
        assert_eq!(given["tenant_id"], acme);
        assert_eq!(given["source_name"], "connect");
        owner
            .until("/v1/waiting-events", |left| {
                left["items"].as_array().map(Vec::len) == Some(1)
            })
            .await;
        let by_provider = items(&owner, "/v1/events?tenant=acme&q=evt_2").await;
        assert_eq!(
            by_provider.len(),
            1,
            "it is found by the provider's id, though the source is another tenant's"
        );

        let taken = json!({ "links": [{ "value": "acct_2", "tenant": "acme" }, { "value": "acct_1", "tenant": "default" }] });
        assert_eq!(owner.post(&links, &taken).await.problem().0, 409);
        let known = items(&owner, &links).await;
        assert_eq!(known.len(), 1, "all of them or none");
        let wrong = json!({ "links": [{ "value": "acct_2", "tenant": "nobody" }] });
        assert_eq!(owner.post(&links, &wrong).await.problem().0, 404);
        let one = format!("{links}/{}", text(&known[0], "/id"));
        assert_eq!(owner.delete(&one).await.status, 204);
        assert_eq!(owner.delete(&one).await.status, 404);
        assert_eq!(sent(&nobody, "evt_4", "acct_1").await.status, 200);
        assert_eq!(
            items(&owner, "/v1/waiting-events?source=connect&value=acct_1")
                .await
                .len(),
            1
        );
        assert_eq!(
            owner.delete(&format!("/v1/sources/{source}")).await.status,
            409
        );
    }
);

on_both_servers!(
    a_key_that_is_bound_to_a_tenant_reaches_neither_links_nor_rules,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let source = source(&owner).await;
        let own = text(
            &owner.get(&format!("/v1/sources/{source}")).await.ok(),
            "/tenant_id",
        );
        let bound = owner
            .key(json!({ "name": "bound", "role": "owner", "tenant_id": own }))
            .await;
        for path in [
            format!("/v1/sources/{source}/links"),
            format!("/v1/sources/{source}/waiting"),
            "/v1/waiting-events".to_owned(),
        ] {
            assert_eq!(
                bound.get(&path).await.problem(),
                (403, "tenant_forbidden".into()),
                "{path}"
            );
        }
        let link = json!({ "links": [{ "value": "acct_1", "tenant": "default" }] });
        assert_eq!(
            bound
                .post(&format!("/v1/sources/{source}/links"), &link)
                .await
                .status,
            403
        );
        let rule = json!({ "tenant": { "find": [{ "header": "X-Tenant" }], "direct": true } });
        let new = json!({ "name": "mine", "scheme": "github", "settings": rule });
        assert_eq!(bound.post("/v1/sources", &new).await.status, 403);
        let without = json!({ "settings": {} });
        assert_eq!(
            bound
                .patch(&format!("/v1/sources/{source}"), &without)
                .await
                .status,
            403
        );
        let disabled = json!({ "enabled": false });
        assert_eq!(
            bound
                .patch(&format!("/v1/sources/{source}"), &disabled)
                .await
                .status,
            200
        );
    }
);

#[test]
fn the_command_line_links_lists_and_unlinks() {
    let server = Server::sqlite();
    let rule = r#"{"find":[{"pointer":"/account"}]}"#;
    server.json(&[
        "source",
        "create",
        "connect",
        "--scheme",
        "stripe",
        "--secret",
        SECRET,
        "--tenant-rule",
        rule,
    ]);
    server.json(&["tenant", "create", "Acme"]);
    let made = server.json(&["source", "link", "connect", "acct_1", "acme"]);
    assert_eq!(made, json!({ "added": 1, "known": 0 }));
    let many = r#"[{"value":"acct_1","tenant":"acme"},{"value":"","tenant":"default"}]"#;
    let made = server.json(&["source", "link", "connect", "--import", many]);
    assert_eq!(made, json!({ "added": 1, "known": 1 }));
    let listed = server.json(&["source", "links", "connect", "--search", "acct"]);
    assert_eq!(
        listed["items"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
    let removed = server.run(&["source", "unlink", "connect", "", "--yes"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    let waiting = server.json(&["event", "waiting", "--source", "connect", "--by-value"]);
    assert_eq!(waiting["items"], json!([]));
}
