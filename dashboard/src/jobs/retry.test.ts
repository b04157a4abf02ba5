import { expect, it } from "vitest";
import type { RetryPolicy } from "../api/types";
import { Mistakes, Reader } from "../lib/typed";
import { retryForm, retryPolicy, retryWords } from "./retry";

const policies: RetryPolicy[] = [
  { strategy: "schedule", attempts_max: 8, delays_ms: [5_000, 90_000, 43_200_000] },
  { strategy: "exponential", attempts_max: 5, base_ms: 1_500, max_ms: 300_000, factor: 2.5, jitter: 0.1 },
  { strategy: "full_jitter", attempts_max: 3, base_ms: 0, max_ms: 60_000 },
];

it("reads a policy back as it was", () => {
  for (const policy of policies) expect(retryPolicy(new Reader(), retryForm(policy))).toEqual(policy);
});

it("asks for the fields of the chosen strategy, and for no others", () => {
  const form = { ...retryForm(policies[0]!), strategy: "full_jitter" as const, delays: "nonsense", base: "soon", max: "" };
  const read = new Reader();
  expect(retryPolicy(read, form)).toBeUndefined();
  try {
    read.done();
    expect.unreachable();
  } catch (error) {
    expect(Object.keys((error as Mistakes).at)).toEqual(["base_ms", "max_ms"]);
  }
});

it("says a policy in words", () => {
  expect(policies.map(retryWords).map((words) => words.replaceAll("\u202f", " "))).toEqual([
    "at most 8 tries, after 5 s, 1 min 30 s, 12 h",
    "at most 5 tries, after delays growing from 1.5 s to 5 min",
    "at most 3 tries, at random within delays growing from 0 ms to 1 min",
  ]);
});
