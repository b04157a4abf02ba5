import { useQuery } from "@tanstack/react-query";
import { useConnection } from "../api/live-provider";
import { queries } from "../api/queries";
import type { DeadLetterGroup } from "../api/types";
import { count } from "../lib/format";
import { given } from "../lib/search-params";
import { useStableOrder } from "../lib/stable-order";
import { Ago, Empty, Panel, ProblemCard, Skeleton } from "../ui/basics";
import { periodQuery } from "../ui/filters";
import { Icon } from "../ui/icon";
import { Reason } from "../ui/status";
import css from "./dead-letters-page.module.css";

/** What a reason narrows the list by. */
export interface ReasonFilter {
  category: string;
  code: string;
  kind: string;
  endpoint: string;
}
const noReason: ReasonFilter = { category: "", code: "", kind: "", endpoint: "" };
const filterOf = ({ category, code, kind, endpoint_name }: DeadLetterGroup): ReasonFilter => ({ category, code, kind, endpoint: endpoint_name ?? "" });
const keyOf = (group: DeadLetterGroup) => Object.values(filterOf(group)).join(" ");

/** By tenant and period only: choosing a reason narrows the list, not the choice of reasons. */
export function useReasons({ tenant, period, from, to }: { tenant: string } & Parameters<typeof periodQuery>[0]) {
  const connection = useConnection();
  const groups = useQuery({
    ...queries.deadLetterGroups({ ...given({ tenant }), ...periodQuery({ period, from, to }, Date.now()) }, { tenant, period, from, to }),
    refetchInterval: connection === "live" ? false : 10_000,
  });
  return { groups, reasons: useStableOrder(`${tenant} ${period} ${from} ${to}`, groups.data?.items, keyOf) };
}

/** Why jobs died, the commonest first; pressing one narrows the list to it, pressing it again takes that back. */
export function Reasons({
  all: { groups, reasons },
  chosen,
  onChoose,
  everything,
}: {
  all: ReturnType<typeof useReasons>;
  chosen: ReasonFilter;
  onChoose: (reason: ReasonFilter) => void;
  /** Neither a period nor a tenant is chosen. */
  everything: boolean;
}) {
  const chosenKey = [chosen.category, chosen.code, chosen.kind, chosen.endpoint].join(" ");
  return (
    <Panel title="Reasons" padded={false}>
      {groups.data === undefined && groups.error ? (
        <ProblemCard error={groups.error} onRetry={() => void groups.refetch()} what="Reasons could not be read" />
      ) : reasons === undefined ? (
        <div>{[0, 1, 2].map((row) => <div key={row} className={css.skeleton}><Skeleton width="55%" /></div>)}</div>
      ) : reasons.length === 0 ? (
        <Empty icon="check" title="No dead letters">
          {everything ? "Every job has ended well or is still being tried." : "None in this period, for this tenant."}
        </Empty>
      ) : (
        <ul className={css.list} aria-label="Reasons">
          {reasons.map((group) => {
            const on = keyOf(group) === chosenKey;
            return (
              <li key={keyOf(group)}>
                <button type="button" className={css.group} aria-pressed={on} onClick={() => onChoose(on ? noReason : filterOf(group))}>
                  <span className={css.count}>{count(group.count)}</span>
                  <span className={css.what}>
                    <Reason category={group.category} code={group.code} />
                    <span className={css.small}>{group.endpoint_name ? `to ${group.endpoint_name}` : group.kind}</span>
                  </span>
                  <span className={css.what}>
                    <span className="secondary" title={group.sample_error}>{group.sample_error}</span>
                  </span>
                  <span className={css.when}>last <Ago at={group.newest} /></span>
                  <Icon name={on ? "check" : "filter"} size={14} />
                </button>
              </li>
            );
          })}
        </ul>
      )}
    </Panel>
  );
}
