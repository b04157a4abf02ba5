// When to try again, as a form has it and in words: pure, so that it can be tested.
import type { RetryPolicy } from "../api/types";
import { setting } from "../lib/format";
import { type Reader, writeSpan } from "../lib/typed";

export interface RetryForm {
  strategy: RetryPolicy["strategy"];
  attempts: string;
  /** Of `schedule`: one after the other. */
  delays: string;
  /** Of the others: from the first to the longest. */
  base: string;
  max: string;
  /** Of `exponential` alone. */
  factor: string;
  jitter: string;
}

export const strategies: { value: RetryPolicy["strategy"]; label: string }[] = [
  { value: "schedule", label: "After delays of your own" },
  { value: "exponential", label: "After growing delays" },
  { value: "full_jitter", label: "At random within growing delays" },
];

/** What the fields of the strategies that are not chosen begin with. */
const usual: RetryForm = { strategy: "schedule", attempts: "5", delays: "5 s, 30 s, 2 min, 10 min", base: "1 s", max: "5 min", factor: "2", jitter: "0.1" };

const written = (value: number | undefined, other: string): string => (value === undefined ? other : String(value));

export function retryForm(retry: RetryPolicy): RetryForm {
  const form = { ...usual, strategy: retry.strategy, attempts: written(retry.attempts_max, usual.attempts) };
  if (retry.strategy === "schedule") return { ...form, delays: retry.delays_ms.map(writeSpan).join(", ") };
  return {
    ...form,
    base: retry.base_ms === undefined ? usual.base : writeSpan(retry.base_ms),
    max: retry.max_ms === undefined ? usual.max : writeSpan(retry.max_ms),
    ...(retry.strategy === "exponential" && { factor: written(retry.factor, usual.factor), jitter: written(retry.jitter, usual.jitter) }),
  };
}

/** The policy that the form describes; undefined where something could not be read, which the reader knows. */
export function retryPolicy(read: Reader, form: RetryForm): RetryPolicy | undefined {
  const attempts_max = read.needed("attempts_max", read.count("attempts_max", form.attempts));
  if (form.strategy === "schedule") {
    const delays_ms = read.needed("delays_ms", read.spans("delays_ms", form.delays));
    return attempts_max === undefined || delays_ms === undefined ? undefined : { strategy: "schedule", attempts_max, delays_ms };
  }
  const base_ms = read.needed("base_ms", read.span("base_ms", form.base));
  const max_ms = read.needed("max_ms", read.span("max_ms", form.max));
  if (attempts_max === undefined || base_ms === undefined || max_ms === undefined) return undefined;
  if (form.strategy === "full_jitter") return { strategy: "full_jitter", attempts_max, base_ms, max_ms };
  return { strategy: "exponential", attempts_max, base_ms, max_ms, factor: read.number("factor", form.factor), jitter: read.number("jitter", form.jitter) };
}

export function retryWords(retry: RetryPolicy): string {
  const tries = retry.attempts_max === undefined ? "" : `at most ${retry.attempts_max} ${retry.attempts_max === 1 ? "try" : "tries"}, `;
  if (retry.strategy === "schedule") return `${tries}after ${retry.delays_ms.map(setting).join(", ")}`;
  const from = retry.base_ms === undefined ? "" : ` from ${setting(retry.base_ms)}`;
  const to = retry.max_ms === undefined ? "" : ` to ${setting(retry.max_ms)}`;
  return `${tries}${retry.strategy === "exponential" ? "after delays growing" : "at random within delays growing"}${from}${to}`;
}
