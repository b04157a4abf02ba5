import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { client, unwrap } from "../api/client";
import type { DeadLetterSelection, ReasonCount } from "../api/types";
import { count, plural, words } from "../lib/format";
import { usePlan } from "../lib/use-plan";
import { Button, Notice, ProblemCard, Skeleton } from "../ui/basics";
import { Dialog } from "../ui/dialog";
import { Field, Input } from "../ui/form";
import { useToast } from "../ui/toast";
import css from "./dead-letters-page.module.css";

interface RetryPlan {
  matched: number;
  by_reason: ReasonCount[];
}

/** Running dead letters again: how many and for which reasons they died, then a button that says the number. */
export function RetryDialog({ selection, onClose }: { selection: DeadLetterSelection; onClose: (done: boolean) => void }) {
  const refresh = useRefresh();
  const ask = (of: DeadLetterSelection, plan: boolean) =>
    unwrap(client.POST("/v1/dead-letters/retry", { body: { selection: of, plan } }));
  const { state, open, confirm, close } = usePlan<DeadLetterSelection, RetryPlan, { retried: number }>({
    plan: (of) => ask(of, true),
    run: async (of) => {
      const answer = await ask(of, false);
      refresh();
      return answer;
    },
  });
  useEffect(() => open(selection), [open, selection]);

  const plan = "plan" in state ? state.plan : null;
  const busy = state.step === "running";
  const dismiss = () => {
    close();
    onClose(state.step === "done");
  };
  const hopeless = plan?.by_reason.filter(({ category }) => ["validation", "auth", "bug"].includes(category)) ?? [];
  return (
    <Dialog
      open
      onClose={dismiss}
      closable={!busy}
      title={state.step === "done" ? "They run again" : "Run dead letters again"}
      text={state.step === "done" ? undefined : "Each starts over with all its tries. Nothing has happened yet."}
      onSubmit={confirm}
      foot={
        state.step === "done" ? (
          <Button variant="primary" onClick={dismiss}>Close</Button>
        ) : (
          <>
            <Button onClick={dismiss} disabled={busy}>Cancel</Button>
            <Button type="submit" variant="primary" disabled={plan === null || plan.matched === 0 || busy} data-confirm="">
              {busy ? "Running again…" : plan ? `Run ${count(plan.matched)} again` : "Planning…"}
            </Button>
          </>
        )
      }
    >
      {state.step === "done" ? (
        <>
          <Notice tone="ok" icon="check">{plural(state.result.retried, "job")} will be tried again, as fast as limits and breakers let them.</Notice>
          {state.result.retried !== state.plan.matched && (
            <Notice icon="info">
              The plan had said {count(state.plan.matched)}: in between, others were run again, or died.
            </Notice>
          )}
        </>
      ) : state.step === "failed" && plan === null ? (
        <ProblemCard error={state.error} onRetry={() => open(selection)} what="There is no plan" />
      ) : (
        <div className={css.planBody} aria-busy={plan === null}>
          <div className={css.figure}>
            {plan ? count(plan.matched) : <Skeleton width={70} />}
            <span>{plan?.matched === 1 ? "dead letter" : "dead letters"}</span>
          </div>
          {plan === null ? (
            <Skeleton width="80%" />
          ) : plan.matched === 0 ? (
            <Notice>Nothing is left to run again: somebody may have been quicker.</Notice>
          ) : (
            <table className={css.reasons}>
              <caption className="visually-hidden">Why they died</caption>
              <thead>
                <tr><th scope="col">They died of</th><th scope="col">Code</th><th scope="col">How many</th></tr>
              </thead>
              <tbody>
                {plan.by_reason.map((reason) => (
                  <tr key={`${reason.category} ${reason.code}`}>
                    <td>{words(reason.category)}</td>
                    <td><code>{reason.code}</code></td>
                    <td>{count(reason.count)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          {hopeless.length > 0 && (
            <Notice tone="warn" icon="warning">
              {plural(hopeless.reduce((sum, each) => sum + each.count, 0), "of them failed", "of them failed")} for a reason that time does not
              mend ({[...new Set(hopeless.map(({ category }) => words(category)))].join(", ")}). Mend it first, or they come back.
            </Notice>
          )}
          {state.step === "failed" && <ProblemCard error={state.error} what="They may not have been run again" onRetry={confirm} />}
        </div>
      )}
    </Dialog>
  );
}

/** Giving dead letters up: planned in the same way, with a reason that stays on record. */
export function DiscardDialog({ selection, onClose }: { selection: DeadLetterSelection; onClose: (done: boolean) => void }) {
  const refresh = useRefresh();
  const say = useToast();
  const [reason, setReason] = useState("");
  const ask = (of: DeadLetterSelection, why: string, plan: boolean) =>
    unwrap(client.POST("/v1/dead-letters/discard", { body: { selection: of, reason: why, plan } }));
  const { state, open, confirm, close } = usePlan<DeadLetterSelection, { matched: number }, { discarded: number }>({
    plan: (of) => ask(of, "plan", true),
    run: async (of) => {
      const answer = await ask(of, reason.trim(), false);
      refresh();
      say(`${plural(answer.discarded, "dead letter")} discarded`);
      onClose(true);
      return answer;
    },
  });
  useEffect(() => open(selection), [open, selection]);
  const plan = "plan" in state ? state.plan : null;
  const busy = state.step === "running";
  const dismiss = () => {
    close();
    onClose(false);
  };
  return (
    <Dialog
      open
      onClose={dismiss}
      closable={!busy}
      title="Discard dead letters"
      text="They will never be run again. What they were, and this decision, stays on record."
      onSubmit={() => {
        if (reason.trim() !== "") confirm();
      }}
      foot={
        <>
          <Button onClick={dismiss} disabled={busy}>Cancel</Button>
          <Button type="submit" variant="dangerFill" disabled={plan === null || plan.matched === 0 || busy || reason.trim() === ""}>
            {busy ? "Discarding…" : plan ? `Discard ${count(plan.matched)}` : "Planning…"}
          </Button>
        </>
      }
    >
      {state.step === "failed" && plan === null ? (
        <ProblemCard error={state.error} onRetry={() => open(selection)} what="There is no plan" />
      ) : (
        <>
          <div className={css.figure}>
            {plan ? count(plan.matched) : <Skeleton width={70} />}
            <span>{plan?.matched === 1 ? "dead letter" : "dead letters"}</span>
          </div>
          <Field label="Reason">
            <Input value={reason} onChange={setReason} placeholder="e.g. test data, the customer is gone" required />
          </Field>
          {state.step === "failed" && <ProblemCard error={state.error} what="They may not have been discarded" onRetry={confirm} />}
        </>
      )}
    </Dialog>
  );
}

function useRefresh(): () => void {
  const queryClient = useQueryClient();
  return () => {
    for (const queryKey of [["dead-letters", "groups"], ["jobs", "head"], ["job"], ["event"], ["events", "head"], ["job-counts"], ["overview"]]) {
      void queryClient.invalidateQueries({ queryKey });
    }
  };
}
