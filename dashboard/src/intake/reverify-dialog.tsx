import { useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { client, unwrap } from "../api/client";
import type { ReverifyAnswer, Source } from "../api/types";
import { count, plural } from "../lib/format";
import { usePlan } from "../lib/use-plan";
import { Facts, Notice, Skeleton } from "../ui/basics";
import { PlanDialog } from "../ui/plan-dialog";

/** One call looks at some thousands and names where the next goes on. */
async function all(source: string, plan: boolean): Promise<ReverifyAnswer> {
  const sum: ReverifyAnswer = { examined: 0, genuine: 0, released: 0, duplicates: 0, conflicts: 0, still_refused: [] };
  let after: string | undefined;
  do {
    const part: ReverifyAnswer = await unwrap(
      client.POST("/v1/sources/{id}/reverify", { params: { path: { id: source } }, body: { plan, after } }),
    );
    for (const name of ["examined", "genuine", "released", "duplicates", "conflicts"] as const) sum[name] += part[name];
    for (const { reason, count: more } of part.still_refused) {
      const known = sum.still_refused.find((one) => one.reason === reason);
      if (known) known.count += more;
      else sum.still_refused.push({ reason, count: more });
    }
    after = part.next ?? undefined;
  } while (after !== undefined);
  return sum;
}

/** Once a secret was mended: what had been refused for it and proves genuine comes in. First the plan. */
export function ReverifyDialog({ source, onClose }: { source: Pick<Source, "id">; onClose: () => void }) {
  const queryClient = useQueryClient();
  const { state, open, confirm, close } = usePlan<string, ReverifyAnswer, ReverifyAnswer>({
    plan: (id) => all(id, true),
    run: async (id) => {
      const answer = await all(id, false);
      void queryClient.invalidateQueries({ queryKey: ["receipts"] });
      void queryClient.invalidateQueries({ queryKey: ["events", "head"] });
      return answer;
    },
  });
  useEffect(() => open(source.id), [open, source.id]);
  const plan = "plan" in state ? state.plan : null;
  return (
    <PlanDialog
      state={state}
      onClose={() => {
        close();
        onClose();
      }}
      title="Verify refused requests again"
      text="With the secrets and settings that the source has now, by the clock of the time when they came."
      action={({ genuine }) => `Release ${plural(genuine, "request")}`}
      ready={({ genuine }) => genuine > 0}
      busyLabel="Releasing…"
      onConfirm={confirm}
      onRetry={() => open(source.id)}
      failed="Not everything was released"
    >
      {state.step === "done" ? (
        <Notice tone="ok" icon="check">
          {plural(state.result.released, "request")} released.
          {state.result.duplicates > 0 && <> {plural(state.result.duplicates, "duplicate")} of what has come since.</>}
          {state.result.conflicts > 0 && <> {plural(state.result.conflicts, "conflict")} with what is known.</>}
        </Notice>
      ) : (
        <Facts
          items={[
            ["Refused requests", plan ? count(plan.examined) : <Skeleton width={40} />],
            ["Genuine", plan ? count(plan.genuine) : <Skeleton width={40} />],
            ...(plan?.still_refused ?? []).map(({ reason, count: many }): [string, string] => [`Still ${reason}`, count(many)]),
          ]}
        />
      )}
    </PlanDialog>
  );
}
