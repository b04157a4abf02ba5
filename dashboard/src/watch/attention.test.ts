import { describe, expect, it } from "vitest";
import type { Endpoint, Overview } from "../api/types";
import { mattersOf } from "./attention";
import { pointsToDraw } from "./volume";

const endpoint = (name: string, state: "closed" | "open" | "half_open", enabled = true) =>
  ({ id: `ep_${name}`, name, enabled, breaker: { state }, stats: { waiting: 3 } }) as unknown as Endpoint;
const overview = (over: Partial<Overview>) =>
  ({ window: "1h", totals: { received: 100, refused: 0, dead: 0, done: 100, failed: 0, duplicates: 0 }, endpoints: [], sources: [], concerns: [], oldest_waiting_secs: null, ...over }) as Overview;
const texts = (over: Partial<Overview>) => mattersOf(overview(over)).map(({ text }) => text.replaceAll("\u202f", " "));

describe("what needs attention", () => {
  it("is nothing when all is well", () => {
    expect(texts({})).toEqual([]);
  });

  it("is an endpoint that is cut off, first", () => {
    expect(texts({ endpoints: [endpoint("crm", "open"), endpoint("shop", "half_open")], oldest_waiting_secs: 90 })).toEqual([
      "crm is cut off, 3 jobs wait",
      "Work has been waiting for 1 min 30 s",
      "shop is being probed",
    ]);
    expect(texts({ endpoints: [endpoint("a", "open"), endpoint("b", "open")] })).toEqual(["2 endpoints are cut off"]);
  });

  it("is a key that waits behind a dead letter", () => {
    expect(texts({ lines_parked: 1, jobs_parked: 3 })).toEqual(["1 key parked, 3 jobs behind"]);
  });

  it("is not an endpoint that a person has disabled", () => {
    expect(texts({ endpoints: [endpoint("crm", "open", false)] })).toEqual([]);
  });

  it("is a source that is silent, brings too much or lacks an event that must come", () => {
    const concern = { source_id: "src_1", source: "stripe", silent: 1, surging: 0, missing: 2 };
    expect(texts({ concerns: [concern] })).toEqual(["stripe is silent, lacks 2 expected events"]);
    expect(texts({ concerns: [{ ...concern, silent: 0, surging: 1, missing: 0 }] })).toEqual(["stripe brings more than usual"]);
  });

  it("is a share of refusals, not the odd one", () => {
    const totals = overview({}).totals;
    expect(texts({ totals: { ...totals, refused: 2 } })).toEqual([]);
    expect(texts({ totals: { ...totals, refused: 20 } })).toEqual(["20 requests refused"]);
  });
});

describe("the points of the chart", () => {
  const point = (secs: number, received: number) => ({ at: new Date(secs * 1000).toISOString(), received, duplicates: 0, refused: 0, done: 0, failed: 0, dead: 0 });
  const now = new Date(150_000).toISOString();

  it("leave out the step that is not over", () => {
    const points = [point(0, 5), point(60, 6), point(120, 1)];
    expect(pointsToDraw({ throughput: { points, step_secs: 60 }, now })).toHaveLength(2);
  });

  it("keep it when it is all there is", () => {
    const points = [point(0, 0), point(60, 0), point(120, 1)];
    expect(pointsToDraw({ throughput: { points, step_secs: 60 }, now })).toHaveLength(3);
  });
});
