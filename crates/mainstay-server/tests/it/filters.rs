//! Filters of bindings, over HTTP: declared, refused with their place, tried, and counted where they fail.

use serde_json::json;

use crate::{
    client::{Caller, World, text},
    on_both_servers,
    server::{Server, Settings},
};

on_both_servers!(
    a_filter_is_checked_when_it_is_declared,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let binding = |filter: &str| json!({ "source": world.source_name, "endpoint_id": world.endpoint, "type_pattern": "*", "filter": filter });
        for (wrong, why) in [
            ("body.data.of = 'a'", "line 1, column 14"),
            ("type == 'a' && bodi.x == 1", "does not know bodi"),
            ("body.list.map(x, x) == []", "exists and all"),
            ("", "is empty"),
        ] {
            let answer = owner.post("/v1/bindings", &binding(wrong)).await;
            assert_eq!(
                answer.problem(),
                (400, "validation_failed".into()),
                "{wrong}"
            );
            assert!(
                answer.text.contains("/filter") && answer.text.contains(why),
                "{}",
                answer.text
            );
        }
        let made = owner
            .post("/v1/bindings", &binding("body.data.of == 'a'"))
            .await
            .ok();
        assert_eq!(made["filter"], "body.data.of == 'a'");
        let path = format!("/v1/bindings/{}", text(&made, "/id"));
        let changed = owner.patch(&path, &json!({ "filter": "true" })).await.ok();
        assert_eq!(changed["filter"], "true");
        let changed = owner.patch(&path, &json!({ "enabled": false })).await.ok();
        assert_eq!(changed["filter"], "true", "what is not named stays");
        let changed = owner.patch(&path, &json!({ "filter": "" })).await.ok();
        assert_eq!(changed["filter"], json!(null));
    }
);

on_both_servers!(
    what_a_filter_cannot_decide_is_counted_at_its_binding,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let path = format!("/v1/bindings/{}", world.binding);
        let filter = json!({ "filter": "body.data.missing == 1" });
        assert_eq!(owner.patch(&path, &filter).await.ok()["filter_failed"], 0);
        let body = json!({ "type": "order.made", "data": { "of": "a" } });
        let accepted = owner
            .webhook(&world.source_name, &world.secret, "msg_2", &body)
            .await
            .ok();
        let event = text(&accepted, "/event_ids/0");
        let kept = owner.get(&format!("/v1/events/{event}")).await.ok();
        assert_eq!(kept["status"], "unhandled", "it is kept, without a job");
        owner
            .until(&path, |binding| binding["filter_failed"] == 1)
            .await;
    }
);

on_both_servers!(
    an_expression_can_be_tried_on_an_event_that_is_kept,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let tried = |filter: &str| {
            let filter: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
            format!("/v1/events/{}/filter?filter={filter}", world.event)
        };
        for (filter, outcome) in [
            ("body.data.of == 'a' && source == 'a-in'", "passed"),
            ("body.data.of == 'b'", "held"),
            ("body.data.none == 'b'", "failed"),
        ] {
            let said = owner.get(&tried(filter)).await.ok();
            assert_eq!(said["outcome"], outcome, "{said}");
            assert_eq!(said["reason"].is_string(), outcome == "failed", "{said}");
        }
        let answer = owner.get(&tried("body.a +")).await;
        assert_eq!(answer.problem(), (400, "validation_failed".into()));
    }
);
