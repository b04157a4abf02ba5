//! Timelines over HTTP and the command line: everything about one object, who may see it, and the rules that find it.

use serde_json::{Value, json};

use crate::{
    client::{Caller, World, text},
    on_both_servers,
    server::{Server, Settings},
};

async fn send(owner: &Caller, world: &World, id: &str, data: Value) -> String {
    let body = json!({ "type": "order.made", "timestamp": jiff::Timestamp::now().to_string(), "data": data });
    let accepted = owner
        .webhook(&world.source_name, &world.secret, id, &body)
        .await;
    text(&accepted.ok(), "/event_ids/0")
}

fn ids(timeline: &Value) -> Vec<String> {
    let items = timeline["items"].as_array().into_iter().flatten();
    items.map(|item| text(item, "/id")).collect()
}

on_both_servers!(
    a_timeline_has_every_event_of_an_object_with_what_followed_in_order,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let first = send(
            &owner,
            &world,
            "m1",
            json!({ "id": "ord/1", "customer_id": "cus 1" }),
        )
        .await;
        let second = send(
            &owner,
            &world,
            "m2",
            json!({ "id": "ord/2", "customer_id": "cus 1" }),
        )
        .await;
        let path = "/v1/timeline?object=cus%201";
        let timeline = owner.until(path, |found| ids(found).len() == 2).await;
        assert_eq!(ids(&timeline), [second.clone(), first.clone()]);
        let item = &timeline["items"][1];
        assert_eq!(
            item["objects"],
            json!([{ "name": "object", "id": "ord/1" }, { "name": "customer", "id": "cus 1" }])
        );
        let steps: Vec<String> = item["steps"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|step| text(step, "/what"))
            .collect();
        assert_eq!(steps[..2], ["request", "event"]);
        // People know an endpoint by its name, and not its queue by an id.
        let named = |found: &Value| {
            let steps = found["items"][0]["steps"].as_array();
            let mut steps = steps.into_iter().flatten();
            steps.any(|step| step["text"] == "endpoint.deliver in app")
        };
        owner.until(path, named).await;
        let metrics = owner.get("/metrics").await.text;
        assert!(
            metrics.contains("mainstay_objects_index_lag_seconds "),
            "{metrics}"
        );
        let mut related: Vec<String> = timeline["related"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| text(one, "/id"))
            .collect();
        related.sort();
        assert_eq!(related, ["ord/1", "ord/2"]);
        let oldest = owner
            .get(&format!("{path}&order=oldest&limit=1"))
            .await
            .ok();
        assert_eq!(ids(&oldest), [&*first]);
        let cursor = text(&oldest, "/next_cursor");
        let rest = format!("{path}&order=oldest&limit=1&cursor={cursor}");
        let rest = owner.get(&rest).await.ok();
        assert_eq!(ids(&rest), [&*second]);
        assert_eq!(rest["next_cursor"], Value::Null);
        assert_eq!(rest["related"], json!([]));
        // By the event's own id, and in the search of events.
        let own = owner
            .get(&format!("/v1/timeline?object={first}"))
            .await
            .ok();
        assert_eq!(ids(&own), [&*first]);
        for query in ["q=ord/1", "object=ord/1"] {
            let found = owner.get(&format!("/v1/events?{query}")).await.ok();
            assert_eq!(ids(&found), [&*first], "{query}");
        }
        let shown = owner.get(&format!("/v1/events/{first}")).await.ok();
        assert_eq!(shown["objects"][1]["id"], "cus 1");
        let none = owner.get("/v1/timeline?object=nobody").await.ok();
        assert_eq!(ids(&none), [] as [String; 0]);
        for wrong in [
            "/v1/timeline",
            "/v1/timeline?object=",
            "/v1/timeline?object=a&limit=51",
        ] {
            assert_eq!(owner.get(wrong).await.status, 400, "{wrong}");
        }
    }
);

on_both_servers!(
    a_timeline_is_its_tenants_and_its_rules_can_be_changed,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let other = World::make(&owner, "b").await;
        let event = send(&owner, &world, "m1", json!({ "id": "ord_1", "number": 17 })).await;
        send(&owner, &other, "m1", json!({ "id": "ord_1" })).await;
        let all = "/v1/timeline?object=ord_1";
        owner.until(all, |found| ids(found).len() == 2).await;
        let bound = format!("{all}&tenant={}", world.tenant);
        assert_eq!(ids(&owner.get(&bound).await.ok()), [&*event]);
        let key = json!({ "name": "acme", "role": "viewer", "tenant_id": world.tenant });
        let own = owner.key(key).await;
        assert_eq!(ids(&own.get(all).await.ok()), [&*event]);
        let rules = format!("/v1/sources/{}/objects", world.source);
        let shown = owner.get(&rules).await.ok();
        assert_eq!(shown["own"], false);
        let source = format!("/v1/sources/{}", world.source);
        let mut settings = owner.get(&source).await.ok()["settings"].clone();
        settings["objects"] = json!([{ "name": "number", "pointer": "/data/number" }]);
        let changed = owner.patch(&source, &json!({ "settings": settings })).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        let shown = owner.get(&rules).await.ok();
        assert_eq!(
            (&shown["own"], &shown["rules"]),
            (
                &json!(true),
                &json!([{ "name": "number", "pointer": "/data/number", "types": "*" }])
            )
        );
        let found = owner
            .until("/v1/timeline?object=17", |found| ids(found).len() == 1)
            .await;
        assert_eq!(ids(&found), [event]);
        owner.until(&bound, |found| ids(found).is_empty()).await;
        settings["objects"] = json!([{ "name": "number", "pointer": "data" }]);
        let wrong = owner.patch(&source, &json!({ "settings": settings })).await;
        assert_eq!(wrong.problem(), (400, "validation_failed".into()));
        assert!(wrong.text.contains("objects"), "{}", wrong.text);
    }
);
