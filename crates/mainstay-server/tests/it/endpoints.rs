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
