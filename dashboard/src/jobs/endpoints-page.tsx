import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries, useCanWrite, useTenants } from "../api/queries";
import type { Endpoint } from "../api/types";
import { commands } from "../lib/commands";
import { compact, count, duration, percent } from "../lib/format";
import { Ago, Button, ButtonLink, Empty, PageHead, Panel, ProblemCard } from "../ui/basics";
import { EndpointBadge } from "../ui/status";
import { type Column, sub, Table } from "../ui/table";
import { EndpointForm } from "./endpoint-form";

/** What a score means, and what it was lost by. */
function healthText({ state, lost }: Endpoint["stats"]["health"]) {
  return [state, ...lost.map(({ cause, points }) => `${cause.replaceAll("_", " ")} −${points}`)].join(", ");
}

export function EndpointsPage() {
  const endpoints = useQuery(queries.endpoints());
  const tenants = useTenants();
  const canWrite = useCanWrite("admin");
  const [creating, setCreating] = useState(false);
  // Columns of dashes only would tell nobody anything.
  const timed = endpoints.data?.items.some(({ stats }) => stats.p99_ms != null) ?? false;
  const columns: Column<Endpoint>[] = [
    {
      key: "name",
      label: "Name",
      primary: true,
      card: "title",
      cell: (endpoint) => (
        <>
          {endpoint.name}
          <span className={sub} title={endpoint.url}>{endpoint.url}</span>
        </>
      ),
    },
    { key: "status", label: "Status", width: "116px", card: "status", cell: (endpoint) => <EndpointBadge breaker={endpoint.breaker} enabled={endpoint.enabled} /> },
    ...(tenants.many ? [{ key: "tenant", label: "Tenant", width: "12%", cell: (endpoint: Endpoint) => tenants.nameOf(endpoint.tenant_id) }] : []),
    { key: "health", label: "Health", width: "76px", end: true, cell: ({ stats }) => <span title={healthText(stats.health)}>{stats.health.score ?? "—"}</span> },
    { key: "success", label: "Success", width: "88px", end: true, cell: ({ stats }) => percent(stats.success_rate) },
    { key: "waiting", label: "Waiting", width: "76px", end: true, cell: ({ stats }) => <span title={count(stats.waiting)}>{compact(stats.waiting)}</span> },
    { key: "flight", label: "In flight", width: "76px", end: true, cell: ({ stats, max_in_flight }) => `${stats.in_flight}/${max_in_flight}` },
    { key: "dead", label: "Dead", width: "60px", end: true, cell: ({ stats }) => <span title={count(stats.dead)}>{compact(stats.dead)}</span> },
    ...(timed
      ? [
          { key: "p50", label: "p50", width: "76px", end: true, cell: ({ stats }: Endpoint) => duration(stats.p50_ms) },
          { key: "p99", label: "p99", width: "76px", end: true, cell: ({ stats }: Endpoint) => duration(stats.p99_ms) },
        ]
      : []),
    { key: "last", label: "Last success", width: "106px", end: true, cell: ({ stats }) => <Ago at={stats.last_success_at} /> },
  ];
  return (
    <>
      <PageHead
        title="Endpoints"
        sub="Your own addresses that jobs are pushed to. A breaker cuts off one that keeps failing, so that the others are not held up."
        actions={
          <>
            <ButtonLink href="/breakers">Breakers</ButtonLink>
            {canWrite && <Button icon="plus" variant="primary" onClick={() => setCreating(true)}>New endpoint</Button>}
          </>
        }
      />
      <Panel label="Endpoints" padded={false}>
        {endpoints.data === undefined && endpoints.error ? (
          <ProblemCard error={endpoints.error} onRetry={() => void endpoints.refetch()} what="Endpoints could not be read" />
        ) : endpoints.data?.items.length === 0 ? (
          <Empty
            icon="endpoints"
            title="No endpoints yet"
            command={commands.endpointCreate()}
            actions={canWrite && <Button icon="plus" variant="primary" onClick={() => setCreating(true)}>New endpoint</Button>}
          >
            Say where your code listens. Until then events are kept, and can be replayed to it later.
          </Empty>
        ) : (
          <Table label="Endpoints" columns={columns} rows={endpoints.data?.items} idOf={(endpoint) => endpoint.id} hrefOf={(endpoint) => `/endpoints/${endpoint.id}`} skeleton={4} />
        )}
      </Panel>
      {creating && <EndpointForm onClose={() => setCreating(false)} />}
    </>
  );
}
