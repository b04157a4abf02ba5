import { describe, expect, it } from "vitest";
import type { EventDetail, Replay } from "../api/types";
import { timelineOf } from "./timeline";

const at = (secs: number) => new Date(Date.UTC(2026, 0, 1) + secs * 1000).toISOString();
const receipt = (secs: number, verdict: "accepted" | "duplicate" | "conflict") => ({ id: `rcp_${secs}`, received_at: at(secs), verdict, remote: "192.0.2.1" });
const job = (id: string, secs: number) => ({ id, created_at: at(secs), attempts_list: [] }) as unknown as EventDetail["jobs_list"][number];
const event = (over: Partial<EventDetail>): EventDetail =>
  ({ id: "evt_1", received_at: at(0), receipts: [receipt(0, "accepted")], jobs_list: [job("a", 0)], replays: [], headers: {}, ...over }) as EventDetail;
const kinds = (over: Partial<EventDetail>) => timelineOf(event(over)).map(({ kind }) => kind);

describe("the story of an event", () => {
  it("begins with the request and its verification, then the jobs", () => {
    expect(kinds({})).toEqual(["request", "verified", "job"]);
  });

  it("begins so even where clocks disagree", () => {
    expect(kinds({ jobs_list: [job("early", -5)] })).toEqual(["request", "verified", "job"]);
  });

  it("tells repeats as one, unless something came in between", () => {
    const entries = timelineOf(
      event({
        receipts: [receipt(0, "accepted"), receipt(10, "duplicate"), receipt(20, "duplicate"), receipt(40, "duplicate"), receipt(50, "conflict")],
        jobs_list: [job("a", 0), job("b", 30)],
      }),
    );
    expect(entries.map((entry) => (entry.kind === "again" ? `${entry.verdict} ${entry.receipts.length}` : entry.kind))).toEqual([
      "request",
      "verified",
      "job",
      "duplicate 2",
      "job",
      "duplicate 1",
      "conflict 1",
    ]);
  });

  it("puts a replay before the jobs that it made in the same instant", () => {
    expect(kinds({ jobs_list: [job("a", 0), job("b", 60)], replays: [{ id: "rpl_1", created_at: at(60), by: "ada", jobs: 1 } as Replay] })).toEqual([
      "request",
      "verified",
      "job",
      "replay",
      "job",
    ]);
  });

  it("says when nothing was made of it", () => {
    expect(kinds({ jobs_list: [] })).toEqual(["request", "verified", "unhandled"]);
  });

  it("still has a beginning when the receipt is no longer kept", () => {
    expect(kinds({ receipts: [] })).toEqual(["request", "job"]);
  });
});
