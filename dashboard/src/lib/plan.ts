// A bulk action in two steps: first a plan that changes nothing and says what would happen, then the same selection
// carried out. The plan shown is always that of the selection confirmed.

export interface Bulk<S, P, R> {
  plan(selection: S): Promise<P>;
  run(selection: S): Promise<R>;
}

export type PlanState<S, P, R> =
  | { step: "idle" }
  | { step: "planning"; selection: S }
  | { step: "planned"; selection: S; plan: P }
  | { step: "running"; selection: S; plan: P }
  | { step: "done"; selection: S; plan: P; result: R }
  | { step: "failed"; selection: S; plan: P | null; error: unknown };

export type PlanMessage<S, P, R> =
  | { type: "open"; selection: S }
  | { type: "plan"; selection: S; plan: P }
  | { type: "confirm" }
  | { type: "result"; selection: S; result: R }
  | { type: "error"; selection: S; error: unknown }
  | { type: "close" };

export function planReducer<S, P, R>(state: PlanState<S, P, R>, message: PlanMessage<S, P, R>): PlanState<S, P, R> {
  switch (message.type) {
    case "open":
      return { step: "planning", selection: message.selection };
    case "plan":
      // An answer to a question that is no longer asked is dropped.
      return state.step === "planning" && state.selection === message.selection
        ? { step: "planned", selection: state.selection, plan: message.plan }
        : state;
    case "confirm":
      if (state.step === "planned") return { ...state, step: "running" };
      // Trying again after a failed run: the plan has been seen already.
      if (state.step === "failed" && state.plan !== null) {
        return { step: "running", selection: state.selection, plan: state.plan };
      }
      return state;
    case "result":
      return state.step === "running" && state.selection === message.selection
        ? { ...state, step: "done", result: message.result }
        : state;
    case "error":
      if (state.step === "planning" && state.selection === message.selection) {
        return { step: "failed", selection: state.selection, plan: null, error: message.error };
      }
      if (state.step === "running" && state.selection === message.selection) {
        return { step: "failed", selection: state.selection, plan: state.plan, error: message.error };
      }
      return state;
    case "close":
      // What has been sent cannot be called back; the dialog stays until the answer is there.
      return state.step === "running" ? state : { step: "idle" };
  }
}
