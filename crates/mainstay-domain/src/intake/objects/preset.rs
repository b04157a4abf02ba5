//! Where ids stand in the events of known providers.

use super::{ObjectPointer, ObjectRule};
use crate::intake::OWN_SOURCE;

type Preset = &'static [(&'static str, &'static str)];

/// Snapshot events carry the object itself, thin ones (`v2.core.event`) name it. An invoice's subscription moved into
/// `parent` in 2025.
const STRIPE: Preset = &[
    ("object", "/data/object/id"),
    ("customer", "/data/object/customer"),
    ("subscription", "/data/object/subscription"),
    (
        "subscription",
        "/data/object/parent/subscription_details/subscription",
    ),
    ("invoice", "/data/object/invoice"),
    ("payment_intent", "/data/object/payment_intent"),
    ("charge", "/data/object/charge"),
    ("setup_intent", "/data/object/setup_intent"),
    ("payment_method", "/data/object/payment_method"),
    ("charge", "/data/object/latest_charge"),
    ("checkout_session", "/data/object/checkout_session"),
    ("reference", "/data/object/client_reference_id"),
    ("account", "/account"),
    ("account", "/context"),
    ("object", "/related_object/id"),
];

const GITHUB: Preset = &[
    ("repository", "/repository/full_name"),
    ("organization", "/organization/login"),
    ("installation", "/installation/id"),
    ("sender", "/sender/login"),
    ("commit", "/after"),
    ("commit", "/pull_request/head/sha"),
    ("commit", "/check_run/head_sha"),
    ("commit", "/check_suite/head_sha"),
    ("commit", "/workflow_run/head_sha"),
    ("commit", "/deployment/sha"),
    ("pull_request", "/pull_request/node_id"),
    ("issue", "/issue/node_id"),
    ("release", "/release/node_id"),
    ("workflow_run", "/workflow_run/id"),
];

/// Each event keeps the shape of the request around its one item.
const META: Preset = &[
    ("message", "/entry/*/changes/*/value/messages/*/id"),
    ("wa_id", "/entry/*/changes/*/value/messages/*/from"),
    ("wa_id", "/entry/*/changes/*/value/contacts/*/wa_id"),
    ("message", "/entry/*/changes/*/value/statuses/*/id"),
    ("wa_id", "/entry/*/changes/*/value/statuses/*/recipient_id"),
    (
        "conversation",
        "/entry/*/changes/*/value/statuses/*/conversation/id",
    ),
    (
        "phone_number",
        "/entry/*/changes/*/value/metadata/phone_number_id",
    ),
    ("message", "/entry/*/messaging/*/message/mid"),
    ("user", "/entry/*/messaging/*/sender/id"),
    ("user", "/entry/*/messaging/*/recipient/id"),
    ("account", "/entry/*/id"),
    ("account", "/id"),
];

const SHOPIFY: Preset = &[
    ("object", "/id"),
    ("object", "/admin_graphql_api_id"),
    ("order", "/order_id"),
    ("customer", "/customer/id"),
    ("checkout", "/checkout_id"),
    ("checkout", "/checkout_token"),
    ("order", "/name"),
    ("product", "/line_items/*/product_id"),
    ("product", "/product_id"),
    ("fulfillment", "/fulfillment_id"),
    ("customer", "/customer_id"),
];

const SLACK: Preset = &[
    ("team", "/team_id"),
    ("channel", "/event/channel"),
    ("user", "/event/user"),
    ("message", "/event/ts"),
    ("thread", "/event/thread_ts"),
    ("channel", "/event/item/channel"),
    ("channel", "/channel_id"),
    ("user", "/user_id"),
    ("user", "/user/id"),
    ("channel", "/channel/id"),
    ("app", "/api_app_id"),
];

const PADDLE: Preset = &[
    ("object", "/data/id"),
    ("customer", "/data/customer_id"),
    ("subscription", "/data/subscription_id"),
    ("transaction", "/data/transaction_id"),
    ("business", "/data/business_id"),
    ("invoice", "/data/invoice_id"),
    ("product", "/data/product_id"),
    ("address", "/data/address_id"),
];

const WHOP: Preset = &[
    ("object", "/data/id"),
    ("user", "/data/user"),
    ("user", "/data/user_id"),
    ("member", "/data/member"),
    ("membership", "/data/membership"),
    ("membership", "/data/membership_id"),
    ("product", "/data/product"),
    ("product", "/data/product_id"),
    ("plan", "/data/plan"),
    ("payment", "/data/payment"),
    ("company", "/data/company"),
    ("company", "/company_id"),
];

const PAYPAL: Preset = &[
    ("object", "/resource/id"),
    ("subscription", "/resource/billing_agreement_id"),
    ("payment", "/resource/parent_payment"),
    ("order", "/resource/supplementary_data/related_ids/order_id"),
    (
        "authorization",
        "/resource/supplementary_data/related_ids/authorization_id",
    ),
    (
        "capture",
        "/resource/supplementary_data/related_ids/capture_id",
    ),
    ("sale", "/resource/sale_id"),
    ("reference", "/resource/custom_id"),
    ("invoice", "/resource/invoice_id"),
    ("payer", "/resource/payer/payer_id"),
    ("payer", "/resource/subscriber/payer_id"),
    (
        "transaction",
        "/resource/disputed_transactions/*/seller_transaction_id",
    ),
];

const TWILIO: Preset = &[
    ("message", "/MessageSid"),
    ("call", "/CallSid"),
    ("phone", "/From"),
    ("phone", "/To"),
    ("conversation", "/ConversationSid"),
    ("verification", "/VerificationSid"),
    ("recording", "/RecordingSid"),
    ("service", "/MessagingServiceSid"),
    ("call", "/ParentCallSid"),
    ("account", "/AccountSid"),
];

/// Our own events: what they are about, so that a dead letter is found with what led to it.
const OWN: Preset = &[
    ("job", "/job_id"),
    ("event", "/event_id"),
    ("endpoint", "/endpoint_id"),
    ("source", "/source_id"),
];

/// What many do who have no scheme of their own.
const OTHERS: Preset = &[
    ("object", "/data/id"),
    ("object", "/data/object/id"),
    ("customer", "/data/customer_id"),
    ("customer", "/data/customer"),
    ("user", "/data/user_id"),
    ("user", "/data/user"),
    ("subscription", "/data/subscription_id"),
    ("order", "/data/order_id"),
    ("invoice", "/data/invoice_id"),
    ("payment", "/data/payment_id"),
    ("account", "/data/account_id"),
    ("customer", "/customer_id"),
    ("user", "/user_id"),
    ("order", "/order_id"),
];

/// The rules of a scheme.
pub fn rules_of(scheme: &str) -> Vec<ObjectRule> {
    let preset = match scheme {
        "stripe" => STRIPE,
        "github" => GITHUB,
        "meta" => META,
        "shopify" => SHOPIFY,
        "slack" => SLACK,
        "paddle" => PADDLE,
        "whop" => WHOP,
        "paypal" => PAYPAL,
        "twilio" => TWILIO,
        OWN_SOURCE => OWN,
        _ => OTHERS,
    };
    let rule = |(name, pointer): &(&str, &str)| {
        Some(ObjectRule {
            name: (*name).to_owned(),
            pointer: ObjectPointer::try_from((*pointer).to_owned()).ok()?,
            types: "*".to_owned(),
        })
    };
    preset.iter().filter_map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{objects::ObjectRules, scheme::Scheme};

    #[test]
    fn every_preset_can_be_written_down_as_rules_of_a_source() {
        for scheme in Scheme::NAMES.into_iter().chain([OWN_SOURCE]) {
            let preset = ObjectRules::of(scheme, None).expect("a preset");
            assert!(!preset.rules().is_empty(), "{scheme}");
            let written = serde_json::to_value(preset.rules()).expect("JSON");
            let read = ObjectRules::of(scheme, Some(&written)).expect("rules");
            assert_eq!(read, preset, "{scheme}");
        }
        let all = [
            STRIPE, GITHUB, META, SHOPIFY, SLACK, PADDLE, WHOP, PAYPAL, TWILIO, OWN, OTHERS,
        ];
        for (_, pointer) in all.into_iter().flatten() {
            assert!(ObjectPointer::try_from((*pointer).to_owned()).is_ok());
        }
    }
}
