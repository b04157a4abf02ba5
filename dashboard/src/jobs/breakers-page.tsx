import { useQuery } from "@tanstack/react-query";
import { queries } from "../api/queries";
import type { DependencyBreaker } from "../api/types";
import { count, plural, setting } from "../lib/format";
import { text, useFilters } from "../lib/search-params";
import { Ago, Button, ButtonLink, Command, Empty, Facts, PageHead, Panel, ProblemCard } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Badge, breakerLooks } from "../ui/status";
import { type Column, Table } from "../ui/table";
import { Holding, History } from "./breaker";

const params = { breaker: text() };

/** When it opens, in words. */
function rules({ settings }: DependencyBreaker): string {
  const { failures_to_open, failed_percent, slow_ms, slow_percent, calls_min, window_ms } = settings;
  const shares = [
    failed_percent != null && `${failed_percent} % failed`,
    slow_ms != null && `${slow_percent} % took longer than ${setting(slow_ms)}`,
  ].filter(Boolean);
  const window = shares.length > 0 ? `, or ${shares.join(" or ")} of at least ${plural(calls_min ?? 0, "call")} in ${setting(window_ms ?? 0)}` : "";
  return `${plural(failures_to_open ?? 0, "failure")} in a row${window}`;
}

function Chosen({ breaker }: { breaker: DependencyBreaker }) {
  const { settings } = breaker;
  return (
    <Panel title={`${breaker.name}: its rule, and how it changed`} padded={false}>
      <div style={{ padding: "var(--s4)" }} className={detail.stack}>
        <Holding breaker={breaker} />
        <Facts
          items={[
            ["Opens after", rules(breaker)],
            ["Stays open", `${setting(settings.pause_ms ?? 0)}, at most ${setting(settings.pause_max_ms ?? 0)}`],
            ["Probes", `${plural(settings.probes ?? 0, "probe")} at a time, and as many must succeed`],
            ["While open", settings.when_open === "fail" ? "jobs are dead letters at once" : "jobs wait, and use up no try"],
            ["Behind it", breaker.endpoints.map(({ name }) => name).join(", ")],
          ]}
        />
        {breaker.last_error && <Command text={breaker.last_error} label="Copy last error" wrap />}
      </div>
      <History dependency={breaker.dependency} />
    </Panel>
  );
}

/** How the dependencies of endpoints stand. */
export function BreakersPage() {
  const breakers = useQuery(queries.breakers());
  const { values, change } = useFilters(params);
  const rows = breakers.data?.items;
  const chosen = rows?.find(({ dependency }) => dependency === values.breaker);
  const columns: Column<DependencyBreaker>[] = [
    {
      key: "name",
      label: "Breaker",
      card: "title",
      cell: ({ dependency, name }) => (
        <Button small variant="quiet" aria-pressed={dependency === values.breaker} onClick={() => change({ breaker: dependency === values.breaker ? "" : dependency })}>
          <span className="truncate">{name}</span>
        </Button>
      ),
    },
    { key: "state", label: "State", card: "status", width: "124px", cell: ({ state }) => <Badge look={breakerLooks[state]} /> },
    { key: "held", label: "Held", width: "96px", cell: ({ forced }) => (forced ? "by hand" : "–") },
    { key: "endpoints", label: "Endpoints", width: "96px", end: true, cell: ({ endpoints }) => count(endpoints.length) },
    { key: "failures", label: "Failures", width: "88px", end: true, cell: ({ failures }) => count(failures) },
    { key: "since", label: "Open since", width: "104px", end: true, cell: ({ opened_at }) => (opened_at ? <Ago at={opened_at} /> : "–") },
  ];
  const more = breakers.data?.next_cursor ? ` The first ${plural(rows?.length ?? 0, "breaker")}; mainstay breaker list has all.` : "";
  return (
    <>
      <PageHead
        title="Breakers"
        sub={`One stands before each thing that endpoints depend on, and cuts it off while it keeps failing.${more}`}
        back={{ href: "/endpoints", label: "Endpoints" }}
      />
      <div className={detail.stack}>
        <Panel label="Breakers" padded={false}>
          {breakers.error ? (
            <ProblemCard error={breakers.error} onRetry={() => void breakers.refetch()} what="The breakers could not be read" />
          ) : rows?.length === 0 ? (
            <Empty icon="endpoints" title="There is no endpoint yet" actions={<ButtonLink href="/endpoints">To the endpoints</ButtonLink>}>
              Each has a breaker of its own, or shares one by naming what it depends on.
            </Empty>
          ) : (
            <Table label="Breakers" columns={columns} rows={rows} idOf={({ dependency, tenant_id }) => `${tenant_id} ${dependency}`} skeleton={4} />
          )}
        </Panel>
        {chosen && <Chosen breaker={chosen} />}
      </div>
    </>
  );
}
