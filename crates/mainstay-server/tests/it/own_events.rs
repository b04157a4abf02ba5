//! Mainstay's own events: a person is told through an endpoint like any other, and what tells is not told of.

use serde_json::{Value, json};

use crate::{
    client::{Caller, text},
    on_both_servers,
    receiver::Receiver,
    server::{Server, Settings},
};

/// A shop whose endpoint takes webhooks, and a desk that is to be told when it does not.
struct Office {
    owner: Caller,
    secret: String,
    shop: Receiver,
    desk: Receiver,
}

impl Office {
    async fn new(server: &Server, shop: u16, desk: u16) -> Self {
        let owner = Caller::owner(server);
        let (shop, desk) = (Receiver::answering(shop), Receiver::answering(desk));
        let new = json!({ "name": "in", "scheme": "standard_webhooks" });
        let secret = text(&owner.post("/v1/sources", &new).await.ok(), "/secret");
        let settings = json!({
            "breaker_settings": { "failures_to_open": 2, "pause_ms": 300, "pause_max_ms": 300, "probes": 1 },
            "retry": { "strategy": "schedule", "attempts_max": 2, "delays_ms": [50] },
        });
        for (name, source, receiver) in [("shop", "in", &shop), ("desk", "mainstay", &desk)] {
            let mut new = settings.clone();
            (new["name"], new["url"]) = (json!(name), json!(receiver.url));
            let made = owner.post("/v1/endpoints", &new).await.ok();
            let id = text(&made, "/endpoint/id");
            let new = json!({ "source": source, "endpoint_id": id, "type_pattern": "*" });
            owner.post("/v1/bindings", &new).await.ok();
        }
        Self {
            owner,
            secret,
            shop,
            desk,
        }
    }

    async fn order(&self, id: &str) {
        let body = json!({ "type": "order.made", "data": {} });
        let sent = self.owner.webhook("in", &self.secret, id, &body);
        sent.await.ok();
    }

    /// What the desk is told next.
    fn told(&self) -> Value {
        serde_json::from_slice(&self.desk.next().body).expect("it is told in JSON")
    }

    async fn dead_letters(&self, count: usize) -> Value {
        let wanted = move |found: &Value| found["items"].as_array().map(Vec::len) == Some(count);
        self.owner.until("/v1/dead-letters?limit=10", wanted).await
    }
}

on_both_servers!(
    a_person_is_told_that_a_job_died_that_an_endpoint_is_down_and_that_it_is_back,
    Settings::default(),
    |server| async {
        let office = Office::new(server, 500, 200).await;
        office.order("msg_1").await;
        let mut told = [office.told(), office.told()];
        told.sort_by_key(|one| text(one, "/type"));
        let [died, down] = told;
        assert_eq!(text(&died, "/type"), "dead_letter.created");
        let letter = &office.dead_letters(1).await["items"][0];
        assert_eq!(text(&died, "/job_id"), text(letter, "/job_id"));
        assert_eq!(text(&died, "/event_type"), "order.made");
        assert_eq!(died["status"], 500);
        assert_eq!(text(&down, "/type"), "endpoint.down");
        assert_eq!(text(&down, "/endpoint_name"), "shop");

        office.shop.answer(200);
        office.order("msg_2").await;
        let up = office.told();
        assert_eq!(text(&up, "/type"), "endpoint.up");
        assert_eq!(text(&up, "/endpoint_name"), "shop");
    }
);

on_both_servers!(
    a_desk_that_cannot_be_told_is_not_told_of_that,
    Settings::default(),
    |server| async {
        let office = Office::new(server, 400, 400).await;
        office.order("msg_1").await;
        assert_eq!(text(&office.told(), "/type"), "dead_letter.created");
        // The order, and what was to tell of it.
        let found = office.dead_letters(2).await;
        let kinds = found["items"].as_array().expect("a list").iter();
        let mut kinds: Vec<String> = kinds.map(|one| text(one, "/event_type")).collect();
        kinds.sort();
        assert_eq!(kinds, ["dead_letter.created", "order.made"]);
        let told = "/v1/events?type=dead_letter.created&limit=10";
        let told = office.owner.get(told).await.ok();
        assert_eq!(told["items"].as_array().map(Vec::len), Some(1));
    }
);
