import { useMemo } from "react";
import { Link } from "wouter";
import type { Endpoint, Source } from "../api/types";
import { schemes } from "../intake/schemes";
import { commands } from "../lib/commands";
import { compact, count, percent } from "../lib/format";
import { Ago, ButtonLink, Empty, Panel } from "../ui/basics";
import { EndpointBadge, EnabledBadge } from "../ui/status";
import { type Column, Table } from "../ui/table";

/** At a glance: the rest is a press away. */
const SHOWN = 8;

const sourceColumns: Column<Source>[] = [
  { key: "name", label: "Source", primary: true, card: "title", cell: (source) => <span title={schemes[source.scheme]?.label}>{source.name}</span> },
  { key: "status", label: "Status", width: "112px", card: "status", cell: (source) => <EnabledBadge enabled={source.enabled} /> },
  { key: "events", label: "Events", width: "76px", end: true, cell: ({ stats }) => <span title={count(stats.events)}>{compact(stats.events)}</span> },
  { key: "refused", label: "Refused", width: "76px", end: true, cell: ({ stats }) => <span title={count(stats.refused)}>{compact(stats.refused)}</span> },
  { key: "last", label: "Last event", width: "104px", end: true, cell: ({ stats }) => <Ago at={stats.last_event_at} /> },
];

export function Sources({ sources }: { sources: Source[] | undefined }) {
  return (
    <Panel title="Sources" padded={false} actions={<Link href="/sources" aria-label="All sources">All</Link>}>
      {sources?.length === 0 ? (
        <Empty icon="sources" title="No sources yet" command={commands.sourceCreate()} actions={<ButtonLink href="/sources" variant="primary">Make a source</ButtonLink>}>
          A source is the address that a provider sends its webhooks to.
        </Empty>
      ) : (
        <Table label="Sources" columns={sourceColumns} rows={sources?.slice(0, SHOWN)} idOf={(source) => source.id} hrefOf={(source) => `/sources/${source.id}`} skeleton={4} />
      )}
    </Panel>
  );
}

const endpointColumns: Column<Endpoint>[] = [
  { key: "name", label: "Endpoint", primary: true, card: "title", cell: (endpoint) => <span title={endpoint.url}>{endpoint.name}</span> },
  { key: "status", label: "Status", width: "112px", card: "status", cell: (endpoint) => <EndpointBadge breaker={endpoint.breaker} enabled={endpoint.enabled} /> },
  { key: "success", label: "Success", width: "80px", end: true, cell: ({ stats }) => percent(stats.success_rate) },
  { key: "waiting", label: "Waiting", width: "72px", end: true, cell: ({ stats }) => <span title={count(stats.waiting)}>{compact(stats.waiting)}</span> },
  { key: "dead", label: "Dead", width: "72px", end: true, cell: ({ stats }) => <span title={count(stats.dead)}>{compact(stats.dead)}</span> },
  { key: "last", label: "Last success", width: "104px", end: true, cell: ({ stats }) => <Ago at={stats.last_success_at} /> },
];

const trouble = { open: 0, half_open: 1, closed: 2 } as const;

/** Those in trouble are among the ones shown; all in the order of their names, so that rows keep their places. */
function choose(endpoints: Endpoint[]): Endpoint[] {
  return [...endpoints]
    .sort((a, b) => trouble[a.breaker.state] - trouble[b.breaker.state])
    .slice(0, SHOWN)
    .sort((a, b) => a.name.localeCompare(b.name));
}

export function Endpoints({ endpoints }: { endpoints: Endpoint[] | undefined }) {
  const shown = useMemo(() => endpoints && choose(endpoints), [endpoints]);
  return (
    <Panel title="Endpoints" padded={false} actions={<Link href="/endpoints" aria-label="All endpoints">All</Link>}>
      {shown?.length === 0 ? (
        <Empty icon="endpoints" title="No endpoints yet" command={commands.endpointCreate()} actions={<ButtonLink href="/endpoints" variant="primary">Make an endpoint</ButtonLink>}>
          An endpoint is the address of your own that jobs are pushed to.
        </Empty>
      ) : (
        <Table label="Endpoints" columns={endpointColumns} rows={shown} idOf={(endpoint) => endpoint.id} hrefOf={(endpoint) => `/endpoints/${endpoint.id}`} skeleton={4} />
      )}
    </Panel>
  );
}
