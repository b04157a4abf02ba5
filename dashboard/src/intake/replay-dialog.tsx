import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { client, unwrap } from "../api/client";
import { queries } from "../api/queries";
import type { Binding, Replay, ReplayDryRun, ReplayPlan, ReplaySelection } from "../api/types";
import { count, plural, span } from "../lib/format";
import { usePlan } from "../lib/use-plan";
import { ButtonLink, Facts, Notice, Skeleton } from "../ui/basics";
import { Check, Field, Input, Select } from "../ui/form";
import { PlanDialog } from "../ui/plan-dialog";
import { DryRun } from "./dry-run";
import { ReplayProgress } from "./replays-page";

interface Request {
  selection: ReplaySelection;
  /** A binding's id, an endpoint's, or nothing: every binding that matches. */
  target: string;
  rate: string;
  skipDone: boolean;
}

const asked = ({ selection, target, rate, skipDone }: Request) => ({
  selection,
  binding_id: target.startsWith("bnd_") ? target : undefined,
  endpoint_id: target.startsWith("ep_") ? target : undefined,
  rate_per_second: rate === "" ? undefined : Number(rate),
  skip_done: skipDone,
});

const send = async (request: Request, plan: boolean) => unwrap(client.POST("/v1/replays", { body: { ...asked(request), plan } }));

/** What built-in handlers would change, of the same request. */
async function dryRun(request: Request): Promise<ReplayDryRun> {
  const plan = (await unwrap(client.POST("/v1/replays", { body: { ...asked(request), plan: true, effects: true } }))) as ReplayPlan;
  return plan.effects ?? { events: 0, jobs: [], more: false };
}

/** Whether anything of it goes to a handler whose effects can be told: a push to an endpoint is not one. */
export const canBeTried = (plan: ReplayPlan, bindings: readonly Binding[]): boolean =>
  plan.goals.some(({ binding_id: id, jobs }) => id != null && jobs > 0 && bindings.find((binding) => binding.id === id)?.handler.kind !== "endpoint");

/** Gives kept events to bindings, or to a sandbox, once more: first the plan, then a press on the button that names its numbers. */
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
  const endpoints = useQuery(queries.endpoints()).data?.items ?? [];
  const [target, setTarget] = useState("");
  const [rate, setRate] = useState("50");
  const [skipDone, setSkipDone] = useState(false);
  const { state, open, confirm, close } = usePlan<Request, ReplayPlan, Replay>({
    plan: async (request) => (await send(request, true)) as ReplayPlan,
    run: async (request) => {
      const begun = (await send(request, false)) as Replay;
      void queryClient.invalidateQueries({ queryKey: ["event"] });
      void queryClient.invalidateQueries({ queryKey: ["events", "head"] });
      void queryClient.invalidateQueries({ queryKey: ["replays"] });
      return begun;
    },
  });
  // The plan belongs to what is asked: another target, another plan.
  useEffect(() => open({ selection, target, rate, skipDone }), [open, selection, target, rate, skipDone]);

  const plan = "plan" in state ? state.plan : null;
  const busy = state.step === "running";
  const many = (value: number) => `${plan?.at_least ? "at least " : ""}${count(value)}`;
  return (
    <PlanDialog
      state={state}
      onClose={() => {
        close();
        onClose();
      }}
      title={selection.event_ids?.length === 1 ? "Replay this event" : "Replay events"}
      text="Replaying makes new jobs from what was kept. Nothing is asked of the provider."
      action={({ jobs, at_least }) => (at_least ? `Make at least ${plural(jobs, "job")}` : `Make ${plural(jobs, "job")}`)}
      ready={({ jobs, at_least }) => jobs > 0 || at_least}
      busyLabel="Replaying…"
      onConfirm={confirm}
      onRetry={() => open({ selection, target, rate, skipDone })}
      failed="The replay was not confirmed"
    >
      {state.step === "done" ? (
        <Begun replay={state.result} />
      ) : (
        <>
          <Field label="Where to">
            <Select
              value={target}
              onChange={setTarget}
              disabled={busy}
              options={[
                { value: "", label: "Every binding that matches" },
                ...bindings
                  .filter(({ source_name }) => sourceName === undefined || source_name === sourceName)
                  .map(({ id, name, source_name }) => ({ value: id, label: `Binding ${name} (${source_name})` })),
                ...endpoints.map(({ id, name }) => ({ value: id, label: `Endpoint ${name}, without a binding` })),
              ]}
            />
          </Field>
          <Field label="Jobs a second">
            <Input type="number" min={1} max={500} value={rate} onChange={setRate} disabled={busy} />
          </Field>
          <Check label="Leave out what is done already" checked={skipDone} onChange={setSkipDone} />
          <Facts
            items={[
              ["Events", plan ? many(plan.events) : <Skeleton width={40} />],
              ["New jobs", plan ? many(plan.jobs) : <Skeleton width={40} />],
              ["Done before", plan ? `${plan.at_least ? "at least " : ""}${plural(plan.already_done, "job")}` : <Skeleton width={40} />],
              ["To", plan ? plan.goals.map(({ name, jobs }) => `${name} (${count(jobs)})`).join(", ") || "none matches" : <Skeleton width={120} />],
              ["Takes", plan ? `${plan.at_least ? "at least " : ""}${span(plan.duration_secs)}` : <Skeleton width={60} />],
            ]}
          />
          {plan && canBeTried(plan, bindings) && (
            // Another request, another dry run.
            <DryRun key={`${target} ${skipDone}`} run={() => dryRun({ selection, target, rate, skipDone })} disabled={busy} />
          )}
          {plan && !skipDone && plan.already_done > 0 && (
            <Notice tone="warn" icon="warning">
              Some of this has succeeded before and would take effect again, unless the handler knows the event's id.
            </Notice>
          )}
        </>
      )}
    </PlanDialog>
  );
}

/** One that has begun goes on by itself; meanwhile it is shown how far it is. */
function Begun({ replay: begun }: { replay: Replay }) {
  const { data: replay = begun } = useQuery({ ...queries.replay(begun.id), initialData: begun });
  return (
    <>
      <Notice tone="ok" icon="check">
        {plural(replay.jobs, "job")} made from {plural(replay.events, "event")}.
        {replay.state === "running" && " It goes on by itself, also when this is closed."}
      </Notice>
      <ReplayProgress replay={replay} />
      <ButtonLink href="/replays" small>All replays</ButtonLink>
    </>
  );
}
