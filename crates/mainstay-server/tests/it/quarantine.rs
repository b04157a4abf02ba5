//! A flood of forgeries, as whoever runs the server sees it.

use serde_json::json;

use crate::{
    client::{Caller, World, text},
    on_both_servers,
    server::{Server, Settings},
};

fn slow() -> Settings {
    Settings {
        env: vec![("MAINSTAY_QUARANTINE_PER_SECOND", "1".into())],
        ..Settings::default()
    }
}

on_both_servers!(
    a_flood_is_bounded_and_counted_and_genuine_webhooks_come_in,
    slow(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let body = json!({ "type": "order.made" });
        for number in 0..60 {
            let id = format!("msg_forged_{number}");
            let forged = owner.webhook(&world.source_name, "whsec_Zm9yZ2Vk", &id, &body);
            assert_eq!(forged.await.status, 401);
            if number % 10 == 0 {
                let id = format!("msg_genuine_{number}");
                let genuine = owner.webhook(&world.source_name, &world.secret, &id, &body);
                genuine.await.ok();
            }
        }
        let path = format!("/v1/sources/{}", world.source);
        let told = owner.until(&path, |source| {
            source["stats"]["refused"].as_i64() >= Some(60)
        });
        let stats = told.await["stats"].clone();
        let not_kept = stats["refused_not_kept"].as_i64().expect("a number");
        assert!(not_kept > 0, "{stats}");
        assert!(stats["refused_not_kept_since"].is_string(), "{stats}");
        assert_eq!(stats["events"], 7, "{stats}");

        let refused = stats["refused"].as_i64().expect("a number");
        let path = format!("/v1/receipts?source={}&limit=200", world.source_name);
        let all = |list: &serde_json::Value| {
            list["items"].as_array().map(|items| items.len() as i64) == Some(refused - not_kept)
        };
        owner.until(&path, all).await;
        let line = format!(
            "mainstay_intake_refused_not_kept_total{{source=\"{}\"}} {not_kept}",
            world.source_name
        );
        let metrics = owner.get("/metrics").await.text;
        assert!(metrics.contains(&line), "{metrics}");
    }
);

on_both_servers!(
    a_source_over_its_rate_and_an_event_with_other_content_are_shown,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let path = format!("/v1/sources/{}", world.source);
        let body = json!({ "type": "order.made", "amount": 1 });
        let send = |id: &'static str, body: serde_json::Value| {
            let (owner, world) = (&owner, &world);
            async move {
                owner
                    .webhook(&world.source_name, &world.secret, id, &body)
                    .await
            }
        };
        send("msg_one", body).await.ok();
        let other = json!({ "type": "order.made", "amount": 2, "more": true });
        assert_eq!(send("msg_one", other).await.ok()["status"], "conflict");
        let conflicted = "/v1/events?conflicts=true";
        let found = owner.get(conflicted).await.ok();
        assert_eq!(found["items"][0]["provider_id"], "msg_one", "{found}");
        assert_eq!(found["items"][0]["conflicts"], 1);
        let id = text(&found, "/items/0/id");
        let event = owner.get(&format!("/v1/events/{id}")).await.ok();
        assert_eq!(
            event["conflicts_list"][0]["differences"],
            json!([
                { "pointer": "/amount", "event": "1", "later": "2" },
                { "pointer": "/more", "event": null, "later": "true" },
            ])
        );
        let digests = ["/digest", "/event_digest"]
            .map(|one| text(&event, &format!("/conflicts_list/0{one}")));
        assert_eq!(digests.clone().map(|one| one.len()), [16, 16]);
        assert_ne!(digests[0], digests[1]);
        let listed = server.json(&["event", "list", "--conflicts"]);
        assert_eq!(listed["items"][0]["id"], id.as_str());
        let shown = server.run(&["event", "show", &id]);
        assert!(shown.out.contains("/amount"), "{}", shown.out);

        let settings = owner.get(&path).await.ok()["settings"].clone();
        let mut settings = settings.as_object().expect("an object").clone();
        settings.insert("rate".into(), json!({ "per_second": 1, "burst": 1 }));
        let changed = json!({ "settings": settings });
        owner.patch(&path, &changed).await.ok();
        let (mut over, mut id) = (None, 0);
        while over.is_none() && id < 100 {
            let name = format!("msg_over_{id}");
            let body = json!({ "type": "order.made" });
            let answer = owner
                .webhook(&world.source_name, &world.secret, &name, &body)
                .await;
            over = (answer.status == 429).then_some(answer);
            id += 1;
        }
        let over = over.expect("more came than the rate");
        assert_eq!(over.problem(), (429, "rate_exceeded".into()));
        assert!(!over.header("retry-after").is_empty());
        let counted = |source: &serde_json::Value| {
            source["stats"]["rate_exceeded"].as_i64() >= Some(1)
                && source["stats"]["conflicts"] == 1
        };
        owner.until(&path, counted).await;
        for kind in ["intake.rate_exceeded", "intake.conflict"] {
            let told = |list: &serde_json::Value| {
                list["items"]
                    .as_array()
                    .is_some_and(|items| items.len() == 1)
            };
            owner.until(&format!("/v1/events?type={kind}"), told).await;
        }
        let metrics = owner.get("/metrics").await.text;
        let source = &world.source_name;
        for line in [
            format!("mainstay_intake_conflicts_total{{source=\"{source}\"}} 1"),
            format!(
                "mainstay_intake_requests_total{{source=\"{source}\",answer=\"rate_exceeded\"}}"
            ),
        ] {
            assert!(metrics.contains(&line), "{metrics}");
        }
        let github = json!({ "name": "gh", "scheme": "github", "settings": { "rate": { "per_second": 1 } } });
        let refused = owner.post("/v1/sources", &github).await;
        assert_eq!(refused.problem(), (400, "validation_failed".into()));
    }
);

on_both_servers!(
    of_an_event_that_came_very_often_a_bounded_number_of_requests_is_shown,
    Settings::default(),
    |server| async {
        const SENT: usize = 130;
        let (owner, nobody) = (Caller::owner(server), Caller::nobody(server));
        let rule = json!({ "tenant": { "find": [{ "pointer": "/account" }] } });
        for (name, settings) in [("known", json!({})), ("unknown", rule)] {
            let new = json!({ "name": name, "scheme": "standard_webhooks", "settings": settings });
            let secret = text(&owner.post("/v1/sources", &new).await.ok(), "/secret");
            let body = json!({ "type": "order.made", "account": "acct_1" });
            let mut event = String::new();
            for _ in 0..SENT {
                let taken = nobody.webhook(name, &secret, "msg_1", &body).await.ok();
                event = text(&taken, "/event_ids/0");
            }
            let list = match name {
                "known" => "events",
                _ => "waiting-events",
            };
            let shown = owner.get(&format!("/v1/{list}/{event}")).await.ok();
            assert_eq!(shown["deliveries"], SENT, "{name}");
            let requests = shown["receipts"].as_array().map(Vec::len);
            assert_eq!(requests, Some(100), "{name}");
        }
    }
);
