import { describe, expect, it } from "vitest";
import { type PlanMessage, planReducer, type PlanState } from "./plan";

interface Selection {
  of: string;
}
type State = PlanState<Selection, number, number>;
type Message = PlanMessage<Selection, number, number>;
const run = (...messages: Message[]) => messages.reduce<State>((state, message) => planReducer(state, message), { step: "idle" });
const a = { of: "a" };
const b = { of: "b" };

describe("a plan", () => {
  it("is made, seen, confirmed and carried out", () => {
    expect(run({ type: "open", selection: a }, { type: "plan", selection: a, plan: 7 }, { type: "confirm" }, { type: "result", selection: a, result: 7 })).toEqual({
      step: "done",
      selection: a,
      plan: 7,
      result: 7,
    });
  });

  it("cannot be confirmed before it is seen", () => {
    expect(run({ type: "open", selection: a }, { type: "confirm" }).step).toBe("planning");
  });

  it("belongs to its selection: the answer to an older question is dropped", () => {
    const state = run({ type: "open", selection: a }, { type: "open", selection: b }, { type: "plan", selection: a, plan: 7 });
    expect(state).toEqual({ step: "planning", selection: b });
  });

  it("that failed can be asked for again, and confirms nothing", () => {
    const state = run({ type: "open", selection: a }, { type: "error", selection: a, error: "no" }, { type: "confirm" });
    expect(state).toMatchObject({ step: "failed", plan: null });
  });

  it("whose run failed can be confirmed again without planning again", () => {
    const state = run(
      { type: "open", selection: a },
      { type: "plan", selection: a, plan: 7 },
      { type: "confirm" },
      { type: "error", selection: a, error: "lost" },
      { type: "confirm" },
    );
    expect(state).toEqual({ step: "running", selection: a, plan: 7 });
  });

  it("cannot be closed while it is carried out, because it cannot be called back", () => {
    const running = [{ type: "open", selection: a }, { type: "plan", selection: a, plan: 7 }, { type: "confirm" }] as Message[];
    expect(run(...running, { type: "close" }).step).toBe("running");
    expect(run({ type: "open", selection: a }, { type: "close" }).step).toBe("idle");
  });
});
