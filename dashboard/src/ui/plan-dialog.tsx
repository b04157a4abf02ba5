// A dialog for a bulk action in two steps: the plan, then a press on the button that names its numbers.
import type { ReactNode } from "react";
import type { PlanState } from "../lib/plan";
import { Button, ProblemCard } from "./basics";
import { Dialog } from "./dialog";

export function PlanDialog<S, P, R>({
  state,
  title,
  text,
  action,
  ready,
  busyLabel,
  onConfirm,
  onRetry,
  onClose,
  failed,
  children,
}: {
  state: PlanState<S, P, R>;
  title: ReactNode;
  text?: ReactNode;
  /** What the button says once there is a plan. */
  action: (plan: P) => string;
  /** Whether the plan has anything in it to confirm. */
  ready: (plan: P) => boolean;
  /** What the button says meanwhile. */
  busyLabel: string;
  onConfirm: () => void;
  /** Plans once more. */
  onRetry: () => void;
  onClose: () => void;
  /** What is said where the confirmed action failed. */
  failed: string;
  children: ReactNode;
}) {
  const plan = "plan" in state ? state.plan : null;
  const busy = state.step === "running";
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!busy}
      title={title}
      text={text}
      onSubmit={onConfirm}
      foot={
        state.step === "done" ? (
          <Button variant="primary" onClick={onClose}>Close</Button>
        ) : (
          <>
            <Button onClick={onClose} disabled={busy}>Cancel</Button>
            <Button type="submit" variant="primary" disabled={plan === null || !ready(plan) || busy}>
              {busy ? busyLabel : plan ? action(plan) : "Planning…"}
            </Button>
          </>
        )
      }
    >
      {children}
      {state.step === "failed" && (
        <ProblemCard error={state.error} onRetry={state.plan ? onConfirm : onRetry} what={state.plan ? failed : undefined} />
      )}
    </Dialog>
  );
}
