//! What a source's events began to say: read and acknowledged by whoever may.

use serde_json::json;

use crate::{
    client::{Caller, World},
    on_both_servers,
    server::{Server, Settings},
};

on_both_servers!(
    findings_are_listed_and_acknowledged_by_whoever_may_and_in_bounds,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let (world, other) = (
            World::make(&owner, "a").await,
            World::make(&owner, "b").await,
        );
        let list = format!("/v1/sources/{}/drift", world.source);
        let acknowledge = format!("{list}/acknowledge");
        // The first day is learned from, so nothing is found yet.
        for query in ["", "?all=true", "?limit=1"] {
            let found = owner.get(&format!("{list}{query}")).await.ok();
            assert_eq!(found["items"], json!([]), "{query}");
            assert_eq!(found["next_cursor"], serde_json::Value::Null);
        }
        for wrong in [
            "?all=perhaps",
            "?limit=0",
            "?limit=201",
            "?cursor=x",
            "?type=a",
        ] {
            let refused = owner.get(&format!("{list}{wrong}")).await;
            assert_eq!(
                refused.problem(),
                (400, "validation_failed".into()),
                "{wrong}"
            );
        }
        let unknown = "/v1/sources/src_00000000000000000000000000/drift";
        assert_eq!(
            owner.get(unknown).await.problem(),
            (404, "not_found".into())
        );

        let id = "drf_00000000000000000000000001";
        for (body, answer) in [(json!({}), 0), (json!({ "ids": [id] }), 0)] {
            let done = owner.post(&acknowledge, &body).await.ok();
            assert_eq!(done["acknowledged"], answer, "{body}");
        }
        for wrong in [
            json!({ "ids": [] }),
            json!({ "ids": vec![id; 201] }),
            json!({ "ids": ["evt_1"] }),
            json!({ "id": id }),
        ] {
            let refused = owner.post(&acknowledge, &wrong).await;
            assert_eq!(
                refused.problem(),
                (400, "validation_failed".into()),
                "{wrong}"
            );
        }
        let nowhere = owner
            .post(&format!("{unknown}/acknowledge"), &json!({}))
            .await;
        assert_eq!(nowhere.problem(), (404, "not_found".into()));
        let path = "/v1/audit?action=source.drift.acknowledge";
        let told = owner.get(path).await.ok();
        assert_eq!(told["items"].as_array().map(Vec::len), Some(2), "{told}");
        assert_eq!(told["items"][0]["subject"], world.source.as_str());
        assert_eq!(told["items"][0]["tenant_id"], world.tenant.as_str());

        let viewer = owner.key(json!({ "name": "v", "role": "viewer" })).await;
        assert_eq!(viewer.get(&list).await.status, 200);
        assert_eq!(viewer.post(&acknowledge, &json!({})).await.status, 403);
        let key = json!({ "name": "b", "role": "owner", "tenant_id": other.tenant });
        let stranger = owner.key(key).await;
        assert_eq!(
            stranger.get(&list).await.problem(),
            (404, "not_found".into())
        );
        let asked = stranger.post(&acknowledge, &json!({})).await;
        assert_eq!(asked.problem(), (404, "not_found".into()));
        let nobody = Caller::nobody(server);
        assert_eq!(nobody.get(&list).await.status, 401);
        assert_eq!(nobody.post(&acknowledge, &json!({})).await.status, 401);
    }
);
