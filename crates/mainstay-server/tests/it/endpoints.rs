//! What an endpoint can be told, as its application notices it.

use mainstay_domain::intake::scheme::{Request, Route, Scheme, Secret, verify};
use serde_json::{Value, json};

use crate::{
    client::{Caller, text},
    on_both_servers,
    receiver::{Received, Receiver},
    server::{Server, Settings},
};

/// An endpoint that gets every event of a source.
struct Push {
    owner: Caller,
    receiver: Receiver,
    source_secret: String,
    /// The endpoint's first signing secret.
    secret: String,
    path: String,
}

impl Push {
    async fn new(server: &Server, endpoint: Value) -> Self {
        let owner = Caller::owner(server);
        let receiver = Receiver::answering(200);
        let new = json!({ "name": "in", "scheme": "standard_webhooks" });
        let source_secret = text(&owner.post("/v1/sources", &new).await.ok(), "/secret");
        let mut new = json!({ "name": "app", "url": receiver.url });
        for (name, value) in endpoint.as_object().expect("an object") {
            new[name] = value.clone();
        }
        let made = owner.post("/v1/endpoints", &new).await.ok();
        let id = text(&made, "/endpoint/id");
        let new = json!({ "source": "in", "endpoint_id": id, "type_pattern": "*" });
        owner.post("/v1/bindings", &new).await.ok();
        Self {
            receiver,
            source_secret,
            secret: text(&made, "/secret"),
            path: format!("/v1/endpoints/{id}"),
            owner,
        }
    }

    /// What the application gets of the next event.
    async fn event(&self, id: &str) -> Received {
        let body = json!({ "type": "order.made", "data": {} });
        let sent = self.owner.webhook("in", &self.source_secret, id, &body);
        sent.await.ok();
        self.receiver.next()
    }

    async fn rotate(&self, overlap_secs: u32) -> Value {
        let path = format!("{}/secret", self.path);
        let body = json!({ "overlap_secs": overlap_secs });
        self.owner.post(&path, &body).await.ok()
    }
}

fn signatures(received: &Received) -> usize {
    received.header("webhook-signature").split(' ').count()
}

/// Whether an application that knows this secret takes the request for ours.
fn proven(received: &Received, secret: &str) -> bool {
    let timestamp = received.header("webhook-timestamp");
    let request = Request {
        headers: &received.headers,
        body: &received.body,
        now_secs: timestamp.parse().expect("seconds"),
        route: Route::default(),
    };
    let secrets = [Secret::from(secret)];
    verify(&Scheme::StandardWebhooks, &secrets, 300, &request).is_ok()
}

on_both_servers!(
    a_new_secret_takes_over_without_a_gap_and_the_old_one_ends,
    Settings::default(),
    |server| async {
        let push = Push::new(server, json!({})).await;
        let got = push.event("msg_1").await;
        assert!(signatures(&got) == 1 && proven(&got, &push.secret));

        let rotated = push.rotate(3_600).await;
        let second = text(&rotated, "/secret");
        let got = push.event("msg_2").await;
        assert_eq!(signatures(&got), 2);
        assert!(proven(&got, &push.secret) && proven(&got, &second));
        let shown = push.owner.get(&push.path).await.ok();
        assert_eq!(shown["secrets"][0]["until"], json!(null));
        assert_eq!(shown["secrets"][1]["until"], rotated["previous_until"]);
        assert!(!shown.to_string().contains(&second[6..]), "{shown}");

        let path = format!("{}/secret/previous", push.path);
        assert_eq!(push.owner.delete(&path).await.status, 204);
        let got = push.event("msg_3").await;
        assert!(signatures(&got) == 1 && proven(&got, &second));

        let third = text(&push.rotate(0).await, "/secret");
        let got = push.event("msg_4").await;
        assert!(signatures(&got) == 1 && proven(&got, &third));
    }
);

on_both_servers!(
    an_overlap_is_a_day_unless_told_and_has_bounds,
    Settings::default(),
    |server| async {
        let push = Push::new(server, json!({})).await;
        let path = format!("{}/secret", push.path);
        let answer = push
            .owner
            .post(&path, &json!({ "overlap_secs": 604_801 }))
            .await;
        assert_eq!(answer.problem(), (400, "validation_failed".into()));
        let plain = push.owner.post(&path, &json!({})).await.ok();
        assert!(plain["previous_until"].is_string(), "{plain}");
        push.rotate(60).await;
        push.rotate(60).await;
        let answer = push.owner.post(&path, &json!({})).await;
        assert_eq!(answer.problem(), (409, "state_conflict".into()));
    }
);

on_both_servers!(
    the_health_of_an_endpoint_says_what_it_suffers_from,
    Settings::default(),
    |server| async {
        let once =
            json!({ "retry": { "strategy": "schedule", "attempts_max": 1, "delays_ms": [0] } });
        let push = Push::new(server, once).await;
        let new = push.owner.get(&push.path).await.ok();
        assert_eq!(new["stats"]["health"]["state"], "unknown");
        push.event("msg_1").await;
        let scored = |score: u8| move |found: &Value| found["stats"]["health"]["score"] == score;
        let well = push.owner.until(&push.path, scored(100)).await;
        assert_eq!(well["stats"]["health"]["state"], "healthy");
        push.receiver.answer(500);
        push.event("msg_2").await;
        // Half of the attempts, and one of the five failures that open the breaker.
        let ill = push.owner.until(&push.path, scored(37)).await;
        assert_eq!(ill["stats"]["health"]["state"], "failing");
        assert_eq!(
            ill["stats"]["health"]["lost"],
            json!([{ "cause": "failures", "points": 60 }, { "cause": "streak", "points": 3 }])
        );
    }
);

on_both_servers!(
    headers_of_the_team_s_own_arrive_and_their_values_are_shown_nowhere,
    Settings::default(),
    |server| async {
        const VALUE: &str = "Bearer of-the-team";
        let headers = json!({ "headers": { "Authorization": VALUE, "x-shard": "7" } });
        let push = Push::new(server, headers).await;
        let got = push.event("msg_1").await;
        assert_eq!(got.header("authorization"), VALUE);
        assert_eq!(got.header("x-shard"), "7");
        assert!(proven(&got, &push.secret));

        let shown = push.owner.get(&push.path).await.ok();
        assert_eq!(shown["header_names"], json!(["authorization", "x-shard"]));
        let job = format!("/v1/jobs/{}", got.header("mainstay-job-id"));
        let job = push
            .owner
            .until(&job, |job| job["state"] == "done")
            .await
            .to_string();
        assert!(
            job.contains("x-shard"),
            "the attempt says what was sent: {job}"
        );
        assert!(!job.contains("of-the-team") && !shown.to_string().contains("of-the-team"));

        let change = json!({ "headers": { "X-Shard": null, "x-new": "1" } });
        let changed = push.owner.patch(&push.path, &change).await.ok();
        assert_eq!(changed["header_names"], json!(["authorization", "x-new"]));
        let got = push.event("msg_2").await;
        assert_eq!(
            (got.header("authorization"), got.header("x-new")),
            (VALUE, "1")
        );
        assert!(!got.headers.iter().any(|(name, _)| name == "x-shard"));
    }
);

on_both_servers!(
    a_header_that_would_break_requests_is_refused_without_its_value,
    Settings::default(),
    |server| async {
        let push = Push::new(server, json!({})).await;
        for (name, value) in [
            ("Host", "of-the-team"),
            ("webhook-signature", "of-the-team"),
            ("transfer-encoding", "of-the-team"),
            ("a b", "of-the-team"),
            ("x-a", "of-the-team\r\nx-b: 1"),
        ] {
            let change = json!({ "headers": { name: value } });
            let answer = push.owner.patch(&push.path, &change).await;
            assert_eq!(
                answer.problem(),
                (400, "validation_failed".into()),
                "{name}"
            );
            assert!(
                answer.text.contains(&format!("/headers/{name}")),
                "{}",
                answer.text
            );
            assert!(!answer.text.contains("of-the-team"), "{}", answer.text);
        }
    }
);
