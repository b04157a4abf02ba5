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

on_both_servers!(
    links_that_are_declared_are_exactly_these_and_others_are_left_alone,
    Settings::default(),
    |server| async {
        let (owner, nobody) = (Caller::owner(server), Caller::nobody(server));
        let source = source(&owner).await;
        for slug in ["acme", "zenith"] {
            tenant(&owner, slug).await;
        }
        let listed = || async {
            let mut links: Vec<_> = items(&owner, &format!("/v1/sources/{source}/links"))
                .await
                .iter()
                .map(|one| (text(one, "/value"), text(one, "/id")))
                .collect();
            links.sort();
            links
        };
        let values = |links: &[(String, String)]| -> Vec<String> {
            links.iter().map(|(value, _)| value.clone()).collect()
        };
        let apply = |links: Value| {
            let mut declared = json!({
                "name": "connect", "scheme": "stripe",
                "settings": { "tenant": { "find": [{ "pointer": "/account" }] } },
            });
            if !links.is_null() {
                declared["links"] = links;
            }
            let body = json!({ "configuration": { "sources": [declared] } });
            let owner = &owner;
            async move { owner.post("/v1/configuration/apply", &body).await }
        };
        let fields = |plan: &Value| -> Vec<String> {
            let fields = plan["changes"][0]["fields"].as_array();
            let fields = fields.into_iter().flatten();
            let said =
                |one: &Value| format!("{} {}→{}", text(one, "/field"), one["old"], one["new"]);
            fields.map(said).collect()
        };
        // A customer who was linked while the product ran.
        let own = json!({ "links": [{ "value": "acct_own", "tenant": "acme" }] });
        owner
            .post(&format!("/v1/sources/{source}/links"), &own)
            .await
            .ok();
        let silent = apply(Value::Null).await.ok();
        assert_eq!(
            silent["changes"],
            json!([]),
            "who names no links removes none"
        );
        assert_eq!(values(&listed().await), ["acct_own"]);

        // What waits for a value that is declared is given to its tenant.
        assert_eq!(sent(&nobody, "evt_1", "acct/1").await.status, 200);
        assert_eq!(items(&owner, "/v1/waiting-events").await.len(), 1);
        let two = json!({ "acct_own": "acme", "acct/1": "acme", "": "default" });
        let made = apply(two.clone()).await.ok();
        assert_eq!(
            fields(&made),
            ["/links/ null→\"default\"", "/links/acct~11 null→\"acme\""]
        );
        owner
            .until("/v1/events?tenant=acme", |found| {
                found["items"].as_array().map(Vec::len) == Some(1)
            })
            .await;
        let before = listed().await;
        assert_eq!(values(&before), ["", "acct/1", "acct_own"]);
        assert_eq!(apply(two).await.ok()["changes"], json!([]));
        assert_eq!(
            listed().await,
            before,
            "what is as declared is not made anew"
        );

        // Another tenant, and one that is no longer declared.
        let moved = apply(json!({ "acct/1": "zenith", "": "default" }))
            .await
            .ok();
        assert_eq!(
            fields(&moved),
            [
                "/links/acct~11 \"acme\"→\"zenith\"",
                "/links/acct_own \"acme\"→null"
            ]
        );
        assert_eq!(values(&listed().await), ["", "acct/1"]);
        assert_eq!(sent(&nobody, "evt_2", "acct/1").await.status, 200);
        assert_eq!(items(&owner, "/v1/events?tenant=zenith").await.len(), 1);
        let trail = owner.get("/v1/audit?limit=200").await.text;
        for action in ["source.link.create", "source.link.delete"] {
            assert!(trail.contains(action), "{trail}");
        }

        let wrong = apply(json!({ "a": "nobody", "b\n": "acme", "c": 1 })).await;
        assert_eq!(wrong.problem(), (400, "validation_failed".into()));
        let nobody = apply(json!({ "a": "nobody" })).await;
        assert!(
            nobody.text.contains("/configuration/sources/0/links/a"),
            "{}",
            nobody.text
        );
        let many: serde_json::Map<String, Value> = (0..=1_000)
            .map(|number| (format!("acct_{number}"), "acme".into()))
            .collect();
        assert_eq!(apply(many.into()).await.problem().0, 400);
        assert_eq!(values(&listed().await), ["", "acct/1"]);
    }
);

on_both_servers!(
    links_are_exported_where_they_are_asked_for_and_unlinking_by_a_file_is_agreed_to,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let source = source(&owner).await;
        tenant(&owner, "acme").await;
        let linked = json!({ "links": [
            { "value": "${acct}: #1", "tenant": "acme" }, { "value": "", "tenant": "default" },
        ] });
        let links = format!("/v1/sources/{source}/links");
        owner.post(&links, &linked).await.ok();
        let place = server.file("links.yaml");
        let file = crate::server::text(&place);
        let without = server.run(&["export"]);
        assert!(!without.out.contains("links"), "{}", without.out);
        let exported = server.run(&["export", "--links"]);
        assert!(exported.out.contains("links:"), "{}", exported.out);
        // Its secret is not what this is about.
        let text_of: String = exported
            .out
            .lines()
            .filter(|line| !line.contains("SECRET") && !line.contains("secrets:"))
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&place, text_of).expect("it is written");
        let same = server.run(&["diff", "-f", file]);
        assert_eq!(same.code, 0, "{}{}", same.out, same.err);

        let later = json!({ "links": [{ "value": "acct_2", "tenant": "acme" }] });
        owner.post(&links, &later).await.ok();
        let differs = server.run(&["diff", "-f", file]);
        assert_eq!(differs.code, 7, "{}{}", differs.out, differs.err);
        assert!(
            differs.out.contains("links.acct_2: \"acme\" → nothing"),
            "{}",
            differs.out
        );
        let unasked = server.run(&["apply", "-f", file]);
        assert_ne!(unasked.code, 0, "nobody agreed: {}", unasked.out);
        assert_eq!(items(&owner, &links).await.len(), 3);
        let agreed = server.run(&["apply", "-f", file, "--yes"]);
        assert_eq!(agreed.code, 0, "{}{}", agreed.out, agreed.err);
        assert_eq!(items(&owner, &links).await.len(), 2);

        // A key of one tenant neither sees links nor declares any.
        let own = owner.get(&format!("/v1/sources/{source}")).await.ok();
        let bound = json!({ "name": "bound", "role": "admin", "tenant_id": own["tenant_id"] });
        let bound = owner.key(bound).await;
        let export = bound.get("/v1/configuration?links=true").await;
        assert_eq!(export.problem(), (403, "tenant_forbidden".into()));
        let declared = json!({ "configuration": { "sources": [
            { "name": "own", "scheme": "stripe", "links": { "a": "default" } },
        ] } });
        let refused = bound.post("/v1/configuration/apply", &declared).await;
        assert_eq!(refused.problem(), (400, "validation_failed".into()));
        assert!(
            refused.text.contains("/sources/0/links"),
            "{}",
            refused.text
        );
    }
);
