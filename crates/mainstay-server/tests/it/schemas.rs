//! Schemas over HTTP and the command line: versions, refusals with their place, flagged events, counts, declarations.

use serde_json::{Value, json};

use crate::{
    client::{Caller, World, text},
    on_both_servers,
    server::{Server, Settings, text as path_text},
};

fn schemas_of(world: &World) -> String {
    format!("/v1/sources/{}/schemas", world.source)
}

fn amount() -> Value {
    json!({ "types": "order.*", "schema": {
        "required": ["data"], "properties": { "data": {
            "required": ["amount"], "properties": { "amount": { "type": "integer" } },
        } },
    } })
}

async fn send(owner: &Caller, world: &World, id: &str, data: Value) -> String {
    happened(owner, world, id, data, 0).await
}

/// The same of something that happened so many seconds ago.
async fn happened(owner: &Caller, world: &World, id: &str, data: Value, ago_secs: i64) -> String {
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(ago_secs);
    let body = json!({ "type": "order.made", "timestamp": at.to_string(), "data": data });
    let accepted = owner
        .webhook(&world.source_name, &world.secret, id, &body)
        .await;
    text(&accepted.ok(), "/event_ids/0")
}

on_both_servers!(
    a_schema_has_versions_and_the_newest_is_in_force,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let path = schemas_of(&world);
        let first = owner.post(&path, &amount()).await;
        assert_eq!((first.status, &first.ok()["version"]), (201, &json!(1)));
        let again = owner.post(&path, &amount()).await;
        assert_eq!((again.status, &again.ok()["version"]), (200, &json!(1)));
        let mut changed = amount();
        changed["schema"]["title"] = "orders".into();
        let second = owner.post(&path, &changed).await.ok();
        assert_eq!(second["version"], 2);
        let listed = owner.get(&path).await.ok();
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(listed["items"][0]["schema"]["title"], "orders");
        let one = format!("{path}/{}", text(&second, "/id"));
        let shown = owner.get(&one).await.ok();
        let versions: Vec<i64> = shown["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|version| version["version"].as_i64())
            .collect();
        assert_eq!(versions, [2, 1]);
        assert_eq!(shown["versions"][1]["schema"], amount()["schema"]);
        assert_eq!(owner.delete(&one).await.status, 204);
        assert_eq!(owner.get(&one).await.problem(), (404, "not_found".into()));
        assert_eq!(
            owner.delete(&one).await.problem(),
            (404, "not_found".into())
        );
    }
);

on_both_servers!(
    what_is_no_schema_or_costs_too_much_is_refused_with_its_place,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let wide: Vec<String> = (0..3_000).map(|one| format!("f{one}")).collect();
        for (wrong, pointer, why) in [
            (json!({ "type": "colour" }), "/schema/type", ""),
            (
                json!({ "items": { "$ref": "https://example.com/x" } }),
                "/schema/items/$ref",
                "nothing is fetched",
            ),
            (
                json!({ "items": { "$ref": "file:///etc/passwd" } }),
                "/schema/items/$ref",
                "nothing is fetched",
            ),
            (json!({ "$ref": "#" }), "/schema/$ref", "leads back"),
            (json!({ "pattern": "(?=a)" }), "/schema", ""),
            (json!({ "pattern": "[a-z]{1000}{1000}" }), "/schema", ""),
            (json!({ "required": wide }), "/schema", "parts"),
            (json!({ "title": "x".repeat(70_000) }), "/schema", "bytes"),
            (json!(7), "/schema", "must be a schema"),
        ] {
            let body = json!({ "types": "*", "schema": wrong });
            let answer = owner.post(&schemas_of(&world), &body).await;
            assert_eq!(answer.problem(), (400, "validation_failed".into()));
            assert!(
                answer.text.contains(&format!("\"{pointer}")) && answer.text.contains(why),
                "{wrong} {}",
                answer.text
            );
        }
        for wrong in ["", "a,b", "a*b", "a b", &"x".repeat(200)] {
            let body = json!({ "types": wrong, "schema": {} });
            let answer = owner.post(&schemas_of(&world), &body).await;
            assert_eq!(
                answer.problem(),
                (400, "validation_failed".into()),
                "{wrong}"
            );
        }
        let sources = owner.get("/v1/sources").await.ok();
        let sources = sources["items"].as_array().cloned().unwrap_or_default();
        let own = sources.iter().find(|one| one["name"] == "mainstay");
        let own = text(own.expect("it is there"), "/id");
        let body = json!({ "types": "*", "schema": {} });
        let answer = owner
            .post(&format!("/v1/sources/{own}/schemas"), &body)
            .await;
        assert_eq!(answer.problem(), (409, "state_conflict".into()));
    }
);

on_both_servers!(
    an_event_that_violates_is_listed_shown_and_counted,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let schema = owner.post(&schemas_of(&world), &amount()).await.ok();
        happened(&owner, &world, "msg_good", json!({ "amount": 5 }), 600).await;
        let lacks = send(&owner, &world, "msg_lacks", json!({})).await;
        let wrong = send(&owner, &world, "msg_wrong", json!({ "amount": "hunter2" })).await;
        let listed = owner.get("/v1/events?violates=true").await.ok();
        let ids: Vec<String> = (0..2)
            .map(|at| text(&listed, &format!("/items/{at}/id")))
            .collect();
        assert_eq!(ids, [wrong.as_str(), lacks.as_str()]);
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
        let shown = owner.get(&format!("/v1/events/{wrong}")).await.ok();
        let violation = shown["violation"].to_string();
        assert!(!violation.contains("hunter2"), "{violation}");
        assert_eq!(shown["violation"]["schema_id"], schema["id"]);
        assert_eq!(shown["violation"]["problems"][0]["pointer"], "/data/amount");
        let shown = server.run(&["event", "show", &wrong]).out;
        assert!(shown.contains("Violates its schema, version 1"), "{shown}");
        assert!(shown.contains("is not of the type integer"), "{shown}");
        let listed = server.json(&["event", "list", "--violates"]);
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
        let path = format!("{}/{}", schemas_of(&world), text(&schema, "/id"));
        let counted = json!({ "checked": 3, "violated": 2, "incomplete": 1, "unchecked": 0 });
        owner.until(&path, |found| found["stats"] == counted).await;
        let source = format!("/v1/sources/{}", world.source);
        let quality = json!({
            "completeness": { "score": 2.0 / 3.0, "numerator": 2, "denominator": 3 },
            "accuracy": { "score": 1.0 / 3.0, "numerator": 1, "denominator": 3 },
            "freshness": { "score": 2.0 / 3.0, "numerator": 2, "denominator": 3 },
        });
        let wanted = |found: &Value| found["stats"]["quality"] == quality;
        owner.until(&source, wanted).await;
        let shown = server.run(&["source", "show", &world.source_name]).out;
        assert!(shown.contains("66.7 % (2 of 3)"), "{shown}");
        let metrics = owner.get("/metrics").await;
        let line = "mainstay_schema_violations_total{source=\"a-in\",types=\"order.*\"} 2";
        assert!(metrics.text.contains(line), "{}", metrics.text);
    }
);

on_both_servers!(
    schemas_are_set_and_shown_at_the_command_line,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let file = server.file("order.json");
        std::fs::write(&file, amount()["schema"].to_string()).expect("it is written");
        let at = format!("@{}", path_text(&file));
        let source = world.source_name.as_str();
        let set = ["source", "schema", "set", source, "order.*", &at];
        assert_eq!(server.json(&set)["version"], 1);
        let next = [
            "source",
            "schema",
            "set",
            source,
            "order.*",
            r#"{"type":"object"}"#,
        ];
        assert_eq!(server.json(&next)["version"], 2);
        let old = [
            "source",
            "schema",
            "show",
            source,
            "order.*",
            "--version",
            "1",
        ];
        assert_eq!(server.json(&old), amount()["schema"]);
        let listed = server.run(&["source", "schema", "list", source]).out;
        assert!(listed.contains("order.*"), "{listed}");
        let gone = server.run(&["source", "schema", "remove", source, "order.*", "--yes"]);
        assert_eq!(gone.code, 0, "{}", gone.err);
        let none = server.run(&["source", "schema", "show", source, "order.*"]);
        assert_ne!(none.code, 0);
    }
);

on_both_servers!(
    schemas_are_declared_exported_and_left_alone_where_they_are_not_named,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let declared = |schemas: Value| {
            let mut source =
                json!({ "name": world.source_name, "scheme": "standard_webhooks", "tenant": "a" });
            if !schemas.is_null() {
                source["schemas"] = schemas;
            }
            json!({ "configuration": { "sources": [source] } })
        };
        let apply = |schemas: Value| {
            let body = declared(schemas);
            let owner = &owner;
            async move { owner.post("/v1/configuration/apply", &body).await }
        };
        let local = json!({ "$ref": "#/$defs/m", "$defs": { "m": { "type": "object" } } });
        let both = json!({ "order.*": amount()["schema"], "*": local });
        let made = apply(both.clone()).await.ok();
        assert_eq!(made["changes"][0]["action"], "update");
        let fields = made["changes"][0]["fields"].to_string();
        assert!(fields.contains("/schemas/order.*"), "{fields}");
        let again = apply(both.clone()).await.ok();
        assert_eq!(again["changes"], json!([]));
        let silent = apply(Value::Null).await.ok();
        assert_eq!(silent["changes"], json!([]), "what is not named stays");
        let wrong = apply(json!({ "*": { "$ref": "https://example.com/" } })).await;
        assert_eq!(wrong.problem(), (400, "validation_failed".into()));
        assert!(
            wrong
                .text
                .contains("/configuration/sources/0/schemas/*/$ref"),
            "{}",
            wrong.text
        );
        // Written as a file and read again, nothing changes.
        let place = server.file("exported.yaml");
        let exported = server.run(&["export", "--tenant", "a"]);
        std::fs::write(&place, &exported.out).expect("it is written");
        assert!(exported.out.contains("order.*"), "{}", exported.out);
        let mut changed = both.clone();
        changed["order.*"]["title"] = "orders".into();
        changed.as_object_mut().expect("an object").remove("*");
        let changed = apply(changed).await.ok();
        let fields: Vec<&str> = changed["changes"][0]["fields"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["field"].as_str())
            .collect();
        assert!(fields.contains(&"/schemas/order.*/title"), "{fields:?}");
        let listed = owner.get(&schemas_of(&world)).await.ok();
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(listed["items"][0]["version"], 2);
        assert_eq!(apply(both).await.status, 200);
        let export = owner.get("/v1/configuration?tenant=a").await.ok();
        assert_eq!(export["configuration"]["sources"][0]["schemas"]["*"], local);
    }
);
