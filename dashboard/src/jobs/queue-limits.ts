// The limits of a queue as a form has them: pure, so that it can be tested.
import type { QueueChange, QueueLimits, QueueRate } from "../api/types";
import { count, setting } from "../lib/format";
import { differing, type Reader, writeSpan } from "../lib/typed";

export interface RateForm {
  count: string;
  per: string;
  burst: string;
}

export interface LimitsForm {
  places: string;
  rate: RateForm;
  tenantPlaces: string;
  tenantRate: RateForm;
  waiting: string;
  /** As a span of time. */
  age: string;
  /** A tenant's id and its share, in the order in which they are shown. */
  weights: { tenant: string; weight: string }[];
}

const written = (value: number | null | undefined): string => (value == null ? "" : String(value));

const rateForm = (rate: QueueRate | null | undefined): RateForm => ({
  count: written(rate?.count),
  per: rate ? writeSpan(rate.per_ms ?? 1_000) : "",
  burst: written(rate?.burst),
});

export const limitsForm = (limits: QueueLimits): LimitsForm => ({
  places: written(limits.max_in_flight),
  rate: rateForm(limits.rate),
  tenantPlaces: written(limits.tenant_max_in_flight),
  tenantRate: rateForm(limits.tenant_rate),
  waiting: written(limits.max_waiting),
  age: limits.max_age_secs == null ? "" : writeSpan(limits.max_age_secs * 1_000),
  weights: Object.entries(limits.weights).map(([tenant, weight]) => ({ tenant, weight: String(weight) })),
});

/** Without a number there is no rate. */
function readRate(read: Reader, field: string, form: RateForm): QueueRate | null {
  const many = read.count(`${field}_count`, form.count);
  const per_ms = read.span(`${field}_per`, form.per) ?? 1_000;
  const burst = read.count(`${field}_burst`, form.burst) ?? 1;
  return many === undefined ? null : { count: many, per_ms, burst };
}

function readSecs(read: Reader, field: string, typed: string): number | null {
  const ms = read.span(field, typed);
  return ms === undefined ? null : Math.ceil(ms / 1_000);
}

/** What of a queue is to change for it to be as the form says. An empty field takes the limit away. */
export function limitsChange(read: Reader, was: QueueLimits, form: LimitsForm): QueueChange {
  const wanted: QueueChange = {
    max_in_flight: read.count("max_in_flight", form.places) ?? null,
    rate: readRate(read, "rate", form.rate),
    tenant_max_in_flight: read.count("tenant_max_in_flight", form.tenantPlaces) ?? null,
    tenant_rate: readRate(read, "tenant_rate", form.tenantRate),
    max_waiting: read.count("max_waiting", form.waiting) ?? null,
    max_age_secs: readSecs(read, "max_age_secs", form.age),
  };
  const weights: Record<string, number | null> = {};
  for (const { tenant, weight } of form.weights) {
    const share = read.count(`weight_${tenant}`, weight) ?? 1;
    if (share !== (was.weights[tenant] ?? 1)) weights[tenant] = share;
  }
  for (const tenant of Object.keys(was.weights)) {
    if (!form.weights.some((each) => each.tenant === tenant)) weights[tenant] = null;
  }
  read.done();
  return { ...differing<QueueChange>(was, wanted), ...(Object.keys(weights).length > 0 && { weights }) };
}

export function rateWords(rate: QueueRate | null | undefined): string {
  if (!rate) return "no limit";
  const { count: many, per_ms = 1_000, burst = 1 } = rate;
  return `${count(many)} in ${setting(per_ms)}${burst > 1 ? `, ${count(burst)} at once` : ""}`;
}

/** When submissions are refused. */
export function waitingWords({ max_waiting, max_age_secs }: QueueLimits): string {
  const words = [max_waiting && `${count(max_waiting)} waiting`, max_age_secs && `the oldest waiting ${setting(max_age_secs * 1_000)}`];
  return words.filter(Boolean).join(", or ") || "no limit";
}

export const placesWords = (places: number | null | undefined): string => (places ? `${count(places)} at once` : "no limit");
