import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, expect, it } from "vitest";
import type { SagaRunStep, SagaShape } from "../api/types";
import { RunGraph } from "./graph";
import { StepTable } from "./saga-run-page";

afterEach(cleanup);

const step = (name: string, given: Partial<SagaRunStep> = {}): SagaRunStep => ({
  name,
  state: "pending",
  job_id: null,
  lookup_job_id: null,
  compensation_job_id: null,
  idempotency_key: `run_1:${name}`,
  uncertain: false,
  started_at: null,
  deadline_at: null,
  finished_at: null,
  verdict: null,
  code: null,
  error: null,
  ...given,
});
const shape = (name: string, given: Partial<SagaShape> = {}): SagaShape => ({ name, approval: false, compensation: true, lookup: false, ...given });

it("says in words what it draws", () => {
  const steps = [step("reserve", { state: "done" }), step("look", { state: "running" }), step("send")];
  render(<RunGraph shape={[shape("reserve"), shape("look", { approval: true, compensation: false }), shape("send")]} steps={steps} />);
  const picture = screen.getByRole("img");
  expect(picture.getAttribute("aria-label")).toContain("reserve: done; look: running; send: pending");
  expect(screen.getByText("running · a person approves")).toBeTruthy();
});

it("draws the way back only of what is undone", () => {
  const at = "2026-11-22T01:00:00Z";
  const steps = [step("reserve", { state: "compensating", started_at: at }), step("charge", { state: "compensated", started_at: at, uncertain: true }), step("send", { state: "skipped" })];
  render(<RunGraph shape={["reserve", "charge", "send"].map((name) => shape(name))} steps={steps} />);
  expect(screen.getByText("undoing")).toBeTruthy();
  expect(screen.getByText("undone")).toBeTruthy();
  expect(screen.getByText(/^undone, may not have been done/)).toBeTruthy();
});

it("leads from each part of a step to its job", () => {
  const [job, undo] = ["job_01kq000000000000000000000a", "job_01kq000000000000000000000b"];
  render(<StepTable steps={[step("charge", { state: "compensating", job_id: job, compensation_job_id: undo, error: "the endpoint answered 422" })]} />);
  expect(screen.getAllByRole("link").map((link) => link.getAttribute("href"))).toEqual([`/jobs/${job}`, `/jobs/${undo}`]);
  expect(screen.getByText("the endpoint answered 422")).toBeTruthy();
});
