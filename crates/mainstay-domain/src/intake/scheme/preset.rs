//! Providers whose scheme is a rule that anybody could write: their names stand for what is written here.
//!
//! - Shopify (shopify.dev, "Verify webhook deliveries"): the body alone is signed. `X-Shopify-Webhook-Id` stays the
//!   same when a delivery is repeated; `X-Shopify-Event-Id` is shared by all topics that one change sets off, so as an
//!   id it would make `orders/updated` a duplicate of `orders/paid`.
//! - Slack (docs.slack.dev, "Verifying requests"): see [`super::slack`] for what it sends.
//! - Paddle Billing (developer.paddle.com, "Signature verification"): `event_id` stays the same when a notification is
//!   replayed, `notification_id` does not. While a secret is changed there are several `h1`.
//! - Whop before it took to Standard Webhooks: see [`super::whop`].

use std::sync::LazyLock;

use super::hmac_rule::HmacRule;

pub(super) static SHOPIFY: LazyLock<HmacRule> = LazyLock::new(|| {
    rule(
        r#"{
            "header": "X-Shopify-Hmac-SHA256",
            "encoding": "base64",
            "id": {"header": "X-Shopify-Webhook-Id"},
            "type": {"header": "X-Shopify-Topic"},
            "occurred_at": {"header": "X-Shopify-Triggered-At"}
        }"#,
    )
});

pub(super) static SLACK: LazyLock<HmacRule> = LazyLock::new(|| {
    rule(
        r#"{
            "header": "X-Slack-Signature",
            "prefix": "v0=",
            "signed": "v0:{timestamp}:{body}",
            "timestamp_header": "X-Slack-Request-Timestamp",
            "id": {"pointer": "/event_id"},
            "type": {"pointer": "/event/type"},
            "occurred_at": {"pointer": "/event_time"}
        }"#,
    )
});

pub(super) static PADDLE: LazyLock<HmacRule> = LazyLock::new(|| {
    rule(
        r#"{
            "header": "Paddle-Signature",
            "parts": {"separator": ";", "timestamp": "ts", "signature": "h1"},
            "signed": "{timestamp}:{body}",
            "id": {"pointer": "/event_id"},
            "type": {"pointer": "/event_type"},
            "occurred_at": {"pointer": "/occurred_at"}
        }"#,
    )
});

pub(super) static WHOP_LEGACY: LazyLock<HmacRule> = LazyLock::new(|| {
    rule(
        r#"{
            "header": "X-Whop-Signature",
            "parts": {"separator": ",", "timestamp": "t", "signature": "v1"},
            "signed": "{timestamp}.{body}",
            "id": {"pointer": "/id"},
            "type": {"pointer": "/action"}
        }"#,
    )
});

fn rule(json: &str) -> HmacRule {
    serde_json::from_str(json).expect("the presets are rules; a test reads each")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_rule_that_works() {
        for preset in [&SHOPIFY, &SLACK, &PADDLE, &WHOP_LEGACY] {
            assert_eq!(preset.check(), Ok(()), "{}", preset.header);
        }
    }
}
