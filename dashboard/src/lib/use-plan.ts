import { useCallback, useReducer, useRef } from "react";
import { type Bulk, type PlanMessage, type PlanState, planReducer } from "./plan";

export function usePlan<S, P, R>(bulk: Bulk<S, P, R>) {
  const [state, dispatch] = useReducer<PlanState<S, P, R>, [PlanMessage<S, P, R>]>(planReducer, { step: "idle" });
  const latest = useRef(bulk);
  latest.current = bulk;

  const open = useCallback((selection: S) => {
    dispatch({ type: "open", selection });
    latest.current.plan(selection).then(
      (plan) => dispatch({ type: "plan", selection, plan }),
      (error: unknown) => dispatch({ type: "error", selection, error }),
    );
  }, []);

  const confirm = useCallback(() => {
    if (state.step !== "planned" && !(state.step === "failed" && state.plan !== null)) return;
    const { selection } = state;
    dispatch({ type: "confirm" });
    latest.current.run(selection).then(
      (result) => dispatch({ type: "result", selection, result }),
      (error: unknown) => dispatch({ type: "error", selection, error }),
    );
  }, [state]);

  const close = useCallback(() => dispatch({ type: "close" }), []);
  return { state, open, confirm, close };
}
