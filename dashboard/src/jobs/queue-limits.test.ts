import { expect, it } from "vitest";
import type { QueueLimits } from "../api/types";
import { Mistakes, Reader } from "../lib/typed";
import { limitsChange, limitsForm } from "./queue-limits";

const was: QueueLimits = {
  max_in_flight: 5,
  rate: { count: 100, per_ms: 60_000, burst: 10 },
  tenant_max_in_flight: null,
  tenant_rate: null,
  max_waiting: 50_000,
  max_age_secs: null,
  weights: { ten_a: 5, ten_b: 2 },
};
const change = (patch: Partial<ReturnType<typeof limitsForm>>) => limitsChange(new Reader(), was, { ...limitsForm(was), ...patch });

it("changes nothing where nothing was typed", () => {
  expect(change({})).toEqual({});
});

it("names only what is to be otherwise, and takes a limit away with null", () => {
  expect(change({ places: "", tenantPlaces: "2" })).toEqual({ max_in_flight: null, tenant_max_in_flight: 2 });
  expect(change({ rate: { count: "100", per: "1 min", burst: "" } })).toEqual({ rate: { count: 100, per_ms: 60_000, burst: 1 } });
  expect(change({ rate: { count: "", per: "1 min", burst: "10" } })).toEqual({ rate: null });
});

it("sets and takes away what may wait", () => {
  expect(change({ waiting: "", age: "15 min" })).toEqual({ max_waiting: null, max_age_secs: 900 });
});

it("gives a tenant that is taken from the list its usual share", () => {
  expect(change({ weights: [{ tenant: "ten_a", weight: "5" }] })).toEqual({ weights: { ten_b: null } });
  expect(change({ weights: [{ tenant: "ten_a", weight: "7" }, { tenant: "ten_b", weight: "2" }, { tenant: "ten_c", weight: "1" }] })).toEqual({ weights: { ten_a: 7 } });
});

it("sends nothing that it could not read", () => {
  expect(() => change({ tenantRate: { count: "many", per: "soon", burst: "1" } })).toThrow(Mistakes);
});
