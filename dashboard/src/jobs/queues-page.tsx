import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { queries, useCanWrite, useTenants } from "../api/queries";
import type { Queue as QueueView, QueueTenant } from "../api/types";
import { count, duration, plural, span } from "../lib/format";
import { text, useFilters } from "../lib/search-params";
import { Ago, Button, ButtonLink, Empty, Facts, notFound, PageHead, Panel, ProblemCard } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { QueueFlowBadge } from "../ui/status";
import { type Column, Table } from "../ui/table";
import { QueueFlowButtons } from "./queue-flow";
import { placesWords, rateWords, waitingWords } from "./queue-limits";
import { QueueLimitsForm } from "./queue-limits-form";
import { called, Queue } from "./queues";
import css from "./queues.module.css";

const params = { queue: text() };

/** So many a second; of fewer than one, a tenth. */
const pace = (perSec: number): string => (perSec === 0 ? "0" : perSec < 10 ? perSec.toFixed(1) : count(perSec));

/** One queue: what was said of it, and who uses it. */
function Chosen({ queue, arrive }: { queue: QueueView; arrive: boolean }) {
  const { nameOf } = useTenants();
  const canLimit = useCanWrite("admin");
  const [limiting, setLimiting] = useState(false);
  const { limits } = queue;
  const panel = useRef<HTMLDivElement>(null);
  // On a phone it stands below all the others: who asked for it is brought there.
  useEffect(() => {
    if (arrive) panel.current?.scrollIntoView({ block: "nearest" });
  }, [arrive]);
  const columns: Column<QueueTenant>[] = [
    { key: "tenant", label: "Tenant", card: "title", cell: ({ tenant_id }) => nameOf(tenant_id) },
    { key: "used", label: "Worker time in 5 min", width: "20%", end: true, cell: ({ used_ms }) => duration(used_ms) },
    { key: "running", label: "Running", width: "14%", end: true, cell: ({ running }) => count(running) },
    { key: "waiting", label: "Waiting", width: "14%", end: true, cell: ({ waiting, more }) => (more ? `over ${count(waiting)}` : count(waiting)) },
    { key: "weight", label: "Weight", width: "12%", end: true, cell: ({ tenant_id }) => count(limits.weights[tenant_id] ?? 1) },
    { key: "limited", label: "Held back", width: "14%", cell: ({ limited }) => (limited ? "by its limit" : "") },
  ];
  return (
    <div ref={panel} className={css.chosen}>
      <Panel
        title={`${called(queue)}: limits, and who uses it`}
        padded={false}
        actions={canLimit && <Button small icon="settings" onClick={() => setLimiting(true)}>Limits…</Button>}
      >
        <div className={detail.pad}>
          <Facts
            items={[
              ["The queue", placesWords(limits.max_in_flight)],
              ["Its rate", rateWords(limits.rate)],
              ["Each tenant", placesWords(limits.tenant_max_in_flight)],
              ["A tenant's rate", rateWords(limits.tenant_rate)],
              ["Refuses more from", queue.full ? `${waitingWords(limits)}: it does now` : waitingWords(limits)],
              ...(queue.flow_at && queue.flow !== "running" ? ([["Since", <Ago key="since" at={queue.flow_at} />]] as [string, ReactNode][]) : []),
              ...(queue.drained === true ? ([["Drained", "nothing is left of what was there before"]] as [string, ReactNode][]) : []),
            ]}
          />
        </div>
        {!queue.live ? (
          <Empty icon="info" title="Another node runs the engine">It knows who uses this queue, and how fast it goes.</Empty>
        ) : queue.tenants.length === 0 ? (
          <Empty icon="check" title="Nobody waits">Nor did anybody use it in the last five minutes.</Empty>
        ) : (
          <Table label="Tenants" columns={columns} rows={queue.tenants} idOf={({ tenant_id }) => tenant_id} />
        )}
        {limiting && <QueueLimitsForm queue={queue} onClose={() => setLimiting(false)} />}
      </Panel>
    </div>
  );
}

/** How queues stand, who uses them, and what can be done about them. */
export function QueuesPage() {
  const queues = useQuery(queries.queues());
  const canWrite = useCanWrite("operator");
  const { values, change } = useFilters(params);
  const [failed, setFailed] = useState<unknown>(null);
  const [pressed, setPressed] = useState(false);
  const choose = (name: string) => {
    setPressed(true);
    change({ queue: name === values.queue ? "" : name });
  };
  const rows = queues.data?.items;
  const listed = rows?.find(({ name }) => name === values.queue);
  // A link may lead to one that is behind the first page.
  const other = useQuery({ ...queries.queue(values.queue), enabled: values.queue !== "" && rows !== undefined && !listed });
  const chosen = listed ?? (values.queue === "" ? undefined : other.data);
  const columns: Column<QueueView>[] = [
    {
      key: "name",
      label: "Queue",
      card: "title",
      cell: (queue) => (
        <Button small variant="quiet" aria-pressed={queue.name === values.queue} onClick={() => choose(queue.name)}>
          <Queue name={queue.name} label={called(queue)} />
        </Button>
      ),
    },
    { key: "flow", label: "Flow", card: "status", width: "124px", cell: ({ flow }) => <QueueFlowBadge flow={flow} /> },
    { key: "waiting", label: "Waiting", width: "88px", end: true, cell: ({ waiting }) => count(waiting) },
    { key: "running", label: "Running", width: "88px", end: true, cell: ({ running }) => count(running) },
    { key: "dead", label: "Dead", width: "72px", end: true, cell: ({ dead }) => count(dead) },
    { key: "in", label: "In a second", width: "96px", end: true, cell: ({ in_per_sec }) => pace(in_per_sec) },
    { key: "out", label: "Out a second", width: "104px", end: true, cell: ({ out_per_sec }) => pace(out_per_sec) },
    { key: "drain", label: "Empty in", width: "104px", end: true, cell: ({ drain_secs, waiting }) => (drain_secs != null && waiting > 0 ? span(drain_secs) : "–") },
    { key: "oldest", label: "Oldest", width: "88px", end: true, cell: ({ oldest_waiting_at }) => (oldest_waiting_at ? <Ago at={oldest_waiting_at} /> : "–") },
    ...(canWrite
      ? [{ key: "wishes", label: "Actions", width: "176px", end: true, card: "wide", cardLabel: false, cell: (queue: QueueView) => <QueueFlowButtons queue={queue} onError={setFailed} /> } as const]
      : []),
  ];
  const more = queues.data?.next_cursor ? `The first ${plural(rows?.length ?? 0, "queue")}; mainstay queue list has all.` : "";
  return (
    <>
      <PageHead
        title="Queues"
        sub={`How fast they fill and empty, who uses them, and whether they run. ${more}`}
        back={{ href: "/jobs", label: "Jobs" }}
      />
      <div className={detail.stack}>
        <Panel label="Queues" padded={false}>
          {failed !== null && <ProblemCard error={failed} what="The queue was not changed" />}
          {queues.error && !rows ? (
            <ProblemCard error={queues.error} onRetry={() => void queues.refetch()} what="The queues could not be read" />
          ) : rows?.length === 0 ? (
            <Empty icon="jobs" title="There is no queue yet" actions={<ButtonLink href="/endpoints">To the endpoints</ButtonLink>}>
              Every endpoint has one; others are made with their first job.
            </Empty>
          ) : (
            <Table label="Queues" columns={columns} rows={rows} idOf={({ name }) => name} skeleton={6} />
          )}
        </Panel>
        {chosen && <Chosen key={chosen.name} queue={chosen} arrive={pressed} />}
        {!chosen && other.error && (
          <Panel label="The queue">
            {notFound(other.error) ? (
              <Empty icon="question" title="There is no such queue" actions={<Button onClick={() => change({ queue: "" })}>All queues</Button>}>
                It has had no job yet, or belongs to a tenant that you do not see.
              </Empty>
            ) : (
              <ProblemCard error={other.error} onRetry={() => void other.refetch()} what="The queue could not be read" />
            )}
          </Panel>
        )}
      </div>
    </>
  );
}
