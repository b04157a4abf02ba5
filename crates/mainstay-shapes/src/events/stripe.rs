//! Stripe: events of money, in the envelope and with the objects of its API.

use serde_json::{Value, json};

use super::{Message, Provider};
use crate::{dice::Dice, story::Told};

/// The version of the API that the objects' shapes follow.
const API_VERSION: &str = "2022-11-15";
const DAY: i64 = 86_400;

const KINDS: &[&str] = &[
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "invoice.created",
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_failed",
    "charge.succeeded",
    "charge.refunded",
    "payment_intent.created",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "checkout.session.completed",
];

/// What one of the made-up shop's customers pays for.
struct Purchase {
    customer: String,
    email: String,
    subscription: String,
    invoice: String,
    intent: String,
    charge: String,
    price: String,
    amount: u64,
    currency: &'static str,
    plan: &'static str,
}

impl Purchase {
    fn new(dice: &Dice) -> Self {
        let (plan, amount) = *dice.pick(&[
            ("Harbour", 1_900),
            ("Breakwater", 4_900),
            ("Lighthouse", 19_900),
            ("Fleet", 99_000),
        ]);
        Self {
            customer: format!("cus_{}", dice.id(14)),
            email: format!(
                "{}@example.com",
                dice.pick(&["ada", "grace", "edsger", "barbara", "tony", "radia"])
            ),
            subscription: format!("sub_1{}", dice.id(23)),
            invoice: format!("in_1{}", dice.id(23)),
            intent: format!("pi_3{}", dice.id(23)),
            charge: format!("ch_3{}", dice.id(23)),
            price: format!("price_1{}", dice.id(23)),
            amount,
            currency: *dice.pick(&["usd", "eur", "gbp", "jpy"]),
            plan,
        }
    }
}

pub(super) fn message(dice: &Dice, now: i64) -> Message {
    let kind = if dice.chance(0.01) {
        "charge.dispute.created"
    } else {
        *dice.pick(KINDS)
    };
    let purchase = Purchase::new(dice);
    let created = now - dice.range(0, 30) as i64;
    let (id, body) = event(kind, &purchase, dice, created);
    let mut message = Message::new(Provider::Stripe, kind, id, &body);
    message.headers = vec![user_agent()];
    message
}

/// A subscription from its beginning to its first payment, or a payment from its beginning to its end.
pub(crate) fn story(dice: &Dice, now: i64) -> Vec<Told> {
    let purchase = Purchase::new(dice);
    let kinds = dice.pick(&[
        [
            "customer.subscription.created",
            "customer.subscription.updated",
            "invoice.paid",
        ],
        [
            "payment_intent.created",
            "payment_intent.succeeded",
            "charge.refunded",
        ],
    ]);
    let told = (0..).zip(kinds).map(|(at, kind)| {
        let (id, body) = event(kind, &purchase, dice, now - 30 + at);
        let mut told = Told::new(kind, id, &body);
        told.headers = vec![user_agent()];
        told
    });
    told.collect()
}

fn user_agent() -> (&'static str, String) {
    (
        "user-agent",
        "Stripe/1.0 (+https://stripe.com/docs/webhooks)".to_owned(),
    )
}

/// An event about the purchase: its id and its body.
fn event(kind: &str, purchase: &Purchase, dice: &Dice, created: i64) -> (String, Value) {
    let object = object(kind, purchase, dice, created);
    let id = format!("evt_1{}", dice.id(23));
    let mut body = json!({
        "id": id,
        "object": "event",
        "api_version": API_VERSION,
        "created": created,
        "data": { "object": object },
        "livemode": true,
        "pending_webhooks": 1,
        "request": { "id": format!("req_{}", dice.id(14)), "idempotency_key": dice.uuid() },
        "type": kind,
    });
    if kind == "customer.subscription.updated" {
        body["data"]["previous_attributes"] = json!({ "status": "incomplete" });
    }
    (id, body)
}

fn object(kind: &str, purchase: &Purchase, dice: &Dice, created: i64) -> Value {
    match kind {
        "charge.dispute.created" => dispute(purchase, dice, created),
        "checkout.session.completed" => checkout_session(purchase, dice, created),
        _ if kind.starts_with("customer.subscription.") => subscription(kind, purchase, created),
        _ if kind.starts_with("invoice.") => invoice(kind, purchase, dice, created),
        _ if kind.starts_with("payment_intent.") => payment_intent(kind, purchase, dice, created),
        _ => charge(kind, purchase, dice, created),
    }
}

fn price(purchase: &Purchase, created: i64) -> Value {
    json!({
        "id": purchase.price, "object": "price", "active": true, "billing_scheme": "per_unit",
        "created": created - 90 * DAY, "currency": purchase.currency, "livemode": true, "lookup_key": null,
        "metadata": {}, "nickname": purchase.plan, "product": format!("prod_{}", &purchase.price[7..21]),
        "recurring": { "interval": "month", "interval_count": 1, "usage_type": "licensed" },
        "tax_behavior": "exclusive", "type": "recurring", "unit_amount": purchase.amount,
        "unit_amount_decimal": purchase.amount.to_string(),
    })
}

fn subscription(kind: &str, purchase: &Purchase, created: i64) -> Value {
    let ended = kind.ends_with("deleted");
    json!({
        "id": purchase.subscription, "object": "subscription", "application": null,
        "billing_cycle_anchor": created, "cancel_at_period_end": false,
        "canceled_at": ended.then_some(created), "collection_method": "charge_automatically",
        "created": created, "currency": purchase.currency, "current_period_end": created + 30 * DAY,
        "current_period_start": created, "customer": purchase.customer, "default_payment_method": null,
        "description": null, "ended_at": ended.then_some(created),
        "items": { "object": "list", "has_more": false, "total_count": 1,
            "url": format!("/v1/subscription_items?subscription={}", purchase.subscription),
            "data": [{ "id": format!("si_{}", &purchase.subscription[5..19]), "object": "subscription_item",
                "created": created, "metadata": {}, "price": price(purchase, created), "quantity": 1,
                "subscription": purchase.subscription, "tax_rates": [] }] },
        "latest_invoice": purchase.invoice, "livemode": true, "metadata": { "plan": purchase.plan },
        "start_date": created, "status": if ended { "canceled" } else { "active" }, "trial_end": null,
        "trial_start": null,
    })
}

fn invoice(kind: &str, purchase: &Purchase, dice: &Dice, created: i64) -> Value {
    let paid = kind == "invoice.paid";
    let status = match kind {
        "invoice.created" => "draft",
        "invoice.paid" => "paid",
        _ => "open",
    };
    json!({
        "id": purchase.invoice, "object": "invoice", "account_country": "IE", "account_name": "Saltmarsh Software",
        "amount_due": purchase.amount, "amount_paid": if paid { purchase.amount } else { 0 },
        "amount_remaining": if paid { 0 } else { purchase.amount }, "attempt_count": u8::from(status != "draft"),
        "attempted": status != "draft", "billing_reason": "subscription_cycle",
        "charge": paid.then_some(&purchase.charge), "collection_method": "charge_automatically", "created": created,
        "currency": purchase.currency, "customer": purchase.customer, "customer_email": purchase.email,
        "lines": { "object": "list", "has_more": false, "total_count": 1,
            "url": format!("/v1/invoices/{}/lines", purchase.invoice),
            "data": [{ "id": format!("il_1{}", dice.id(23)), "object": "line_item", "amount": purchase.amount,
                "currency": purchase.currency, "description": format!("1 × {} (per month)", purchase.plan),
                "period": { "start": created, "end": created + 30 * DAY }, "price": price(purchase, created),
                "proration": false, "quantity": 1, "subscription": purchase.subscription, "type": "subscription" }] },
        "livemode": true, "metadata": {}, "next_payment_attempt": (!paid).then_some(created + DAY),
        "number": format!("SALT-{:04}", dice.range(1, 9_999)), "paid": paid,
        "payment_intent": purchase.intent, "period_end": created, "period_start": created - 30 * DAY,
        "status": status, "subscription": purchase.subscription, "subtotal": purchase.amount, "tax": null,
        "total": purchase.amount, "webhooks_delivered_at": null,
    })
}

fn charge(kind: &str, purchase: &Purchase, dice: &Dice, created: i64) -> Value {
    let refunded = kind == "charge.refunded";
    json!({
        "id": purchase.charge, "object": "charge", "amount": purchase.amount, "amount_captured": purchase.amount,
        "amount_refunded": if refunded { purchase.amount } else { 0 },
        "balance_transaction": format!("txn_3{}", dice.id(23)),
        "billing_details": { "address": { "city": null, "country": "NL", "line1": null, "line2": null,
            "postal_code": null, "state": null }, "email": purchase.email, "name": null, "phone": null },
        "captured": true, "created": created, "currency": purchase.currency, "customer": purchase.customer,
        "description": format!("{} subscription", purchase.plan), "disputed": false, "failure_code": null,
        "failure_message": null, "invoice": purchase.invoice, "livemode": true, "metadata": {},
        "outcome": { "network_status": "approved_by_network", "reason": null, "risk_level": "normal",
            "risk_score": dice.range(1, 60), "seller_message": "Payment complete.", "type": "authorized" },
        "paid": true, "payment_intent": purchase.intent, "payment_method": format!("pm_1{}", dice.id(23)),
        "payment_method_details": { "type": "card", "card": { "brand": dice.pick(&["visa", "mastercard", "amex"]),
            "country": "NL", "exp_month": dice.range(1, 13), "exp_year": 2030, "funding": "credit",
            "last4": dice.digits(4) } },
        "receipt_email": purchase.email, "refunded": refunded, "status": "succeeded",
    })
}

fn payment_intent(kind: &str, purchase: &Purchase, dice: &Dice, created: i64) -> Value {
    let (status, received) = match kind {
        "payment_intent.succeeded" => ("succeeded", purchase.amount),
        "payment_intent.payment_failed" => ("requires_payment_method", 0),
        _ => ("requires_confirmation", 0),
    };
    let error = (kind == "payment_intent.payment_failed").then(|| {
        json!({ "charge": purchase.charge, "code": "card_declined", "decline_code": "insufficient_funds",
            "message": "Your card has insufficient funds.", "type": "card_error" })
    });
    json!({
        "id": purchase.intent, "object": "payment_intent", "amount": purchase.amount, "amount_capturable": 0,
        "amount_received": received, "capture_method": "automatic", "client_secret":
        format!("{}_secret_{}", purchase.intent, dice.id(25)), "confirmation_method": "automatic",
        "created": created, "currency": purchase.currency, "customer": purchase.customer,
        "invoice": purchase.invoice, "last_payment_error": error, "livemode": true, "metadata": {},
        "payment_method_types": ["card"], "receipt_email": purchase.email, "setup_future_usage": "off_session",
        "status": status,
    })
}

fn dispute(purchase: &Purchase, dice: &Dice, created: i64) -> Value {
    json!({
        "id": format!("dp_1{}", dice.id(23)), "object": "dispute", "amount": purchase.amount,
        "balance_transactions": [], "charge": purchase.charge, "created": created, "currency": purchase.currency,
        "evidence": { "customer_email_address": purchase.email, "product_description": purchase.plan },
        "evidence_details": { "due_by": created + 7 * DAY, "has_evidence": false, "past_due": false,
            "submission_count": 0 },
        "is_charge_refundable": false, "livemode": true, "metadata": {}, "payment_intent": purchase.intent,
        "reason": dice.pick(&["fraudulent", "product_not_received", "duplicate"]), "status": "needs_response",
    })
}

fn checkout_session(purchase: &Purchase, dice: &Dice, created: i64) -> Value {
    json!({
        "id": format!("cs_live_{}", dice.id(58)), "object": "checkout.session", "amount_subtotal": purchase.amount,
        "amount_total": purchase.amount, "cancel_url": "https://shop.example.com/cart",
        "client_reference_id": dice.uuid(), "created": created, "currency": purchase.currency,
        "customer": purchase.customer, "customer_details": { "email": purchase.email, "name": "A. Customer",
            "phone": null, "tax_exempt": "none", "tax_ids": [] },
        "expires_at": created + DAY, "invoice": purchase.invoice, "livemode": true,
        "metadata": { "plan": purchase.plan }, "mode": "subscription", "payment_intent": null,
        "payment_method_types": ["card"], "payment_status": "paid", "status": "complete",
        "subscription": purchase.subscription, "success_url": "https://shop.example.com/welcome",
        "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 }, "url": null,
    })
}
