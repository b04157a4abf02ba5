import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { client, unwrap } from "../api/client";
import { queries } from "../api/queries";
import type { ReplayAnswer, ReplaySelection } from "../api/types";
import { count, plural } from "../lib/format";
import { usePlan } from "../lib/use-plan";
import { Button, Facts, Id, Notice, ProblemCard, Skeleton } from "../ui/basics";
import { Dialog } from "../ui/dialog";
import { Field, Select } from "../ui/form";

interface Request {
  selection: ReplaySelection;
  binding: string;
}

/** Runs the bindings of kept events again: first the plan, then a press on the button that names its numbers. */
export function ReplayDialog({
  selection,
  sourceName = selection.source ?? undefined,
  onClose,
}: {
  selection: ReplaySelection;
  /** Only bindings of this source are offered. */
  sourceName?: string;
  onClose: () => void;
}) {
  const queryClient = useQueryClient();
  const bindings = useQuery(queries.bindings()).data?.items ?? [];
  const [binding, setBinding] = useState("");
  const ask = (request: Request, plan: boolean): Promise<ReplayAnswer> =>
    unwrap(
      client.POST("/v1/replays", {
        body: { selection: request.selection, binding_id: request.binding || undefined, plan },
      }),
    );
  const { state, open, confirm, close } = usePlan<Request, ReplayAnswer, ReplayAnswer>({
    plan: (request) => ask(request, true),
    run: async (request) => {
      const answer = await ask(request, false);
      void queryClient.invalidateQueries({ queryKey: ["event"] });
      void queryClient.invalidateQueries({ queryKey: ["events", "head"] });
      return answer;
    },
  });
  // The plan belongs to the selection and the binding: another binding, another plan.
  useEffect(() => open({ selection, binding }), [open, selection, binding]);

  const plan = "plan" in state ? state.plan : null;
  const busy = state.step === "running";
  const dismiss = () => {
    close();
    onClose();
  };
  return (
    <Dialog
      open
      onClose={dismiss}
      closable={!busy}
      title={selection.event_ids?.length === 1 ? "Replay this event" : "Replay events"}
      text="Replaying makes new jobs from what was kept. Nothing is asked of the provider."
      onSubmit={confirm}
      foot={
        state.step === "done" ? (
          <Button variant="primary" onClick={dismiss}>Close</Button>
        ) : (
          <>
            <Button onClick={dismiss} disabled={busy}>Cancel</Button>
            <Button type="submit" variant="primary" disabled={plan === null || plan.jobs === 0 || busy}>
              {busy ? "Replaying…" : plan ? `Make ${plural(plan.jobs, "job")}` : "Planning…"}
            </Button>
          </>
        )
      }
    >
      {state.step === "done" ? (
        <Notice tone="ok" icon="check">
          {plural(state.result.jobs, "job")} made from {plural(state.result.events, "event")}.
          {state.result.replay_id && <> The replay is <Id value={state.result.replay_id} />.</>}
        </Notice>
      ) : (
        <>
          <Field label="Which bindings">
            <Select
              value={binding}
              onChange={setBinding}
              disabled={busy}
              options={[
                { value: "", label: "Every binding that matches" },
                ...bindings
                  .filter(({ source_name }) => sourceName === undefined || source_name === sourceName)
                  .map(({ id, name, source_name }) => ({ value: id, label: `${name} (${source_name})` })),
              ]}
            />
          </Field>
          <Facts
            items={[
              ["Events", plan ? count(plan.events) : <Skeleton width={40} />],
              ["New jobs", plan ? count(plan.jobs) : <Skeleton width={40} />],
              ["Done before", plan ? plural(plan.already_done ?? 0, "event") : <Skeleton width={40} />],
              ["Bindings", plan ? (plan.binding_names ?? []).join(", ") || "none matches" : <Skeleton width={120} />],
            ]}
          />
          {plan && (plan.already_done ?? 0) > 0 && (
            <Notice tone="warn" icon="warning">
              Some of this has succeeded before and would take effect again, unless the handler knows the event's id.
            </Notice>
          )}
        </>
      )}
      {state.step === "failed" && (
        <ProblemCard
          error={state.error}
          onRetry={state.plan ? confirm : () => open({ selection, binding })}
          what={state.plan ? "The replay was not confirmed" : undefined}
        />
      )}
    </Dialog>
  );
}
