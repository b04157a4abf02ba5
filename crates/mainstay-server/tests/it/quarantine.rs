//! A flood of forgeries, as whoever runs the server sees it.

use serde_json::json;

use crate::{
    client::{Caller, World},
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
