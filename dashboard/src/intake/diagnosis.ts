// Why a request was refused, in words, and what to do next. Pure: the server says the cause, this what it means to a person.
import type { Diagnosis } from "../api/types";

/** Where a person can do something about it. */
export type Remedy = "reverify" | "secrets" | "settings" | "other_source" | "resend";

export interface Advice {
  title: string;
  next: string;
  remedies: Remedy[];
}

const advice: Record<string, Advice> = {
  genuine: {
    title: "It would be let in now",
    next: "What it failed by has been mended since. Verify the refused requests of this source again, and it comes in as if it had never been refused.",
    remedies: ["reverify"],
  },
  secret_missing: {
    title: "The source has no secret",
    next: "Add the one that the provider shows, then verify the refused requests again.",
    remedies: ["secrets", "reverify"],
  },
  header_missing: {
    title: "A header that the scheme needs did not come",
    next: "Is it the right scheme for this provider? If so, look for a proxy on the way that drops headers.",
    remedies: ["settings"],
  },
  malformed: {
    title: "A header cannot be read as the scheme's",
    next: "Is it the right scheme for this provider? If so, look for a proxy on the way that changes headers.",
    remedies: ["settings"],
  },
  clock_skew: {
    title: "It is rightly signed, at a time too far from ours",
    next: "Compare both clocks. If they agree it is a late redelivery, which the provider signs anew when it is asked to send again, or somebody repeats what they have seen.",
    remedies: ["settings", "resend"],
  },
  address_not_allowed: {
    title: "It comes from an address that is not on the source's list",
    next: "If it is the provider's, add it to the source's addresses. Behind a proxy, the trusted proxies of the configuration say whose word counts.",
    remedies: ["settings", "reverify"],
  },
  certificate_missing: {
    title: "It is judged by a certificate that is not fetched for this page",
    next: "Verifying again fetches it, and says.",
    remedies: ["reverify"],
  },
  not_kept: {
    title: "Its token cannot be judged any more",
    next: "The header that carries the secret itself is never kept. Compare the token at the provider with the source's, then ask the provider to send it again.",
    remedies: ["secrets", "resend"],
  },
  body_malformed: {
    title: "It is rightly signed, but the body is not what the scheme sends",
    next: "Is it the right scheme, or the right rule, for this provider?",
    remedies: ["settings"],
  },
  other_source: {
    title: "It belongs to another source",
    next: "Give the provider the address of that source, or swap the two secrets.",
    remedies: ["other_source", "secrets"],
  },
  key_encoding: {
    title: "The secret is right, but is read the wrong way",
    next: "It is to be decoded where it is taken as text, or the other way round: mend the scheme, or how its key is written, then verify again.",
    remedies: ["settings", "reverify"],
  },
  body_altered: {
    title: "The secret is right, but the body was changed on its way",
    next: "Find the proxy that ends a line otherwise or writes the JSON anew. It has to pass bodies on byte for byte.",
    remedies: ["resend"],
  },
  url_differs: {
    title: "The secret is right, but the provider has another URL than this server",
    next: "The URL is signed. Compare the one at the provider with the server's public_url: https or http, and a slash at its end.",
    remedies: ["reverify"],
  },
  test_mode: {
    title: "It is of Stripe's test mode, which has a secret of its own",
    next: "Add that secret to this source, or make a source of its own for the test mode.",
    remedies: ["secrets", "reverify"],
  },
  wrong_secret: {
    title: "No secret of the source made this signature",
    next: "Compare the secret with the provider's: it is missing here, also when it was removed too early. If the provider knows nothing of this request, it is forged, and was rightly refused.",
    remedies: ["secrets", "reverify"],
  },
  body_not_kept: {
    title: "Its body was too large to be kept",
    next: "It cannot be verified again. Once the source is right, ask the provider to send it again.",
    remedies: ["resend"],
  },
  unreadable: {
    title: "It cannot be read any more",
    next: "It cannot be verified again. Once the source is right, ask the provider to send it again.",
    remedies: ["resend"],
  },
};

/** What to say of a cause. One that this page does not know yet is said in the server's own words alone. */
export const adviceFor = ({ cause }: Pick<Diagnosis, "cause">): Advice | undefined => advice[cause];

/** The causes that there are words for. */
export const causes = Object.keys(advice);
