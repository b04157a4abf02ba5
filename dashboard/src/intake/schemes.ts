import type { Scheme, SourceScheme } from "../api/types";

interface SchemeWords {
  label: string;
  /** Where the provider shows its secret, for the form. */
  secret: string;
  /** Whether Mainstay can make the secret, because it is for us to choose. */
  generates: boolean;
}

export const schemes: Record<SourceScheme, SchemeWords> = {
  stripe: {
    label: "Stripe",
    secret: "Stripe shows it as “Signing secret” of the webhook endpoint: whsec_…",
    generates: false,
  },
  standard_webhooks: {
    label: "Standard Webhooks (Svix, Clerk, …)",
    secret: "As the provider shows it: whsec_…, or the public key whpk_…. Leave it empty and one is made for you.",
    generates: true,
  },
  github: {
    label: "GitHub",
    secret: "What you enter as “Secret” of the webhook on GitHub. Leave it empty and one is made for you.",
    generates: true,
  },
  meta: {
    label: "Meta (WhatsApp, Messenger)",
    secret: "The app secret, from the basic settings of the app.",
    generates: false,
  },
  shopify: {
    label: "Shopify",
    secret: "The client secret of the app.",
    generates: false,
  },
  slack: {
    label: "Slack",
    secret: "“Signing Secret” in the app's basic information. Enter the address at Slack only after this is saved: Slack asks at once.",
    generates: false,
  },
  paddle: {
    label: "Paddle Billing",
    secret: "The secret key of the notification destination: pdl_ntfset_…",
    generates: false,
  },
  whop: {
    label: "Whop",
    secret: "Whop shows it once, when the webhook is made: ws_…",
    generates: false,
  },
  paypal: {
    label: "PayPal",
    secret: "The webhook's id, as PayPal's dashboard lists it. It takes the place of a secret.",
    generates: false,
  },
  twilio: {
    label: "Twilio",
    secret: "The primary auth token of the account.",
    generates: false,
  },
  bearer: {
    label: "Token in a header",
    secret: "The token that the provider sends. Leave it empty and one is made for you.",
    generates: true,
  },
  address: {
    label: "Known addresses only",
    secret: "",
    generates: false,
  },
  hmac: {
    label: "HMAC, described by you",
    secret: "The shared key, as the provider shows it.",
    generates: false,
  },
  mainstay: { label: "Mainstay’s own events", secret: "", generates: false },
};

/** Those that a person can make a source of. */
export const creatable: Scheme[] = [
  "stripe",
  "standard_webhooks",
  "github",
  "meta",
  "shopify",
  "slack",
  "paddle",
  "whop",
  "paypal",
  "twilio",
  "bearer",
  "address",
  "hmac",
];
