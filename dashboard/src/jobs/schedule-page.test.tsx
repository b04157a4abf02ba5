import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, expect, it } from "vitest";
import type { Schedule, ScheduleRun } from "../api/types";
import { Ticks } from "./schedule-form";
import { Runs } from "./schedule-page";
import { NextRun } from "./schedules-page";

afterEach(cleanup);

const run = (given: Partial<ScheduleRun>): ScheduleRun => ({
  tick: "2026-11-22T01:00:00Z",
  local: "2026-11-22T02:00:00+01:00",
  outcome: "run",
  job_id: null,
  job_state: null,
  since: null,
  count: 1,
  decided_at: "2026-11-22T01:00:00Z",
  ...given,
});

it("says of several that were missed together how many they are", () => {
  render(<Runs runs={[run({ outcome: "missed", count: 12, since: "2026-11-19T00:00:00Z" })]} />);
  expect(screen.getByText("12 missed").closest("[title]")?.getAttribute("title")).toMatch(/^since /);
});

it("leads from a run to its job, as long as there is one", () => {
  const there = run({ job_id: "job_01kq000000000000000000000a", job_state: "done" });
  const gone = run({ tick: "2026-11-21T01:00:00Z", job_id: "job_01kq000000000000000000000b" });
  render(<Runs runs={[there, gone]} />);
  expect(screen.getAllByRole("link").map((link) => link.getAttribute("href"))).toEqual([`/jobs/${there.job_id}`]);
  expect(screen.getByText("gone")).toBeTruthy();
});

it("says what a clock change makes of a tick", () => {
  const ticks = [{ at: "2027-03-28T01:00:00Z", local: "2027-03-28T03:00:00+02:00", note: "02:30:00 does not exist that day" }];
  const clock_changes = [{ at: "2027-03-28T01:00:00Z", effect: "moved" as const, count: 1, text: "on 2027-03-28 the clock goes on" }];
  render(<Ticks preview={{ ticks, clock_changes }} />);
  expect(screen.getByText(/02:30:00 does not exist/)).toBeTruthy();
  expect(screen.getByText("On 2027-03-28 the clock goes on.")).toBeTruthy();
});

it("shows a schedule that cannot be used as such, also where it is paused", () => {
  render(<NextRun schedule={{ problem: "is no time zone", paused: true } as Schedule} />);
  expect(screen.getByText("Unusable").closest("[title]")?.getAttribute("title")).toBe("is no time zone");
});
