import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { TenantFilter, useTenantColumn } from "../access/tenant-filter";
import { client, unwrap } from "../api/client";
import { useLiveList } from "../api/live-list";
import { LIST_LIMIT, queries, useCanWrite } from "../api/queries";
import type { Event, EventStatus, ReplaySelection, Source } from "../api/types";
import { commands } from "../lib/commands";
import { plural } from "../lib/format";
import { given, oneOf, text, useFilters } from "../lib/search-params";
import { Ago, Button, ButtonLink, Empty, PageHead, Panel, Segments } from "../ui/basics";
import { ChoiceFilter, FilterBar, Fresh, PeriodFilter, periodParams, periodQuery, SearchBox, SecondBar, TextFilter } from "../ui/filters";
import { LiveTable } from "../ui/live-table";
import { EventStatusBadge, eventLooks } from "../ui/status";
import type { Column } from "../ui/table";
import { ReplayDialog } from "./replay-dialog";

const statuses = ["", "pending", "processing", "success", "error", "unhandled"] as const;
const params = {
  q: text(),
  source: text(),
  type: text(),
  status: oneOf(statuses, ""),
  tenant: text(),
  violates: oneOf(["", "true"] as const, ""),
  conflicts: oneOf(["", "true"] as const, ""),
  ...periodParams,
};

export function EventsPage() {
  const filters = useFilters(params);
  const { values, change } = filters;
  const sources = useQuery(queries.sources()).data?.items ?? [];
  const tenantColumn = useTenantColumn<Event>();
  const canWrite = useCanWrite("operator");
  const [replaying, setReplaying] = useState<ReplaySelection | null>(null);

  const { q, source, type, status, tenant, violates, conflicts } = values;
  const selection = () => ({ ...given({ source, type, status, tenant }), ...periodQuery(values, Date.now()) });
  const asked = () => ({
    ...given({ q }),
    ...(violates ? { violates: true } : {}),
    ...(conflicts ? { conflicts: true } : {}),
    ...selection(),
  });
  const list = useLiveList<Event>({
    area: "events",
    filters: values,
    idOf: (event) => event.id,
    fetchPage: (cursor) =>
      unwrap(client.GET("/v1/events", { params: { query: { cursor, limit: LIST_LIMIT, ...asked() } } })),
  });

  const columns: Column<Event>[] = [
    {
      key: "type",
      label: "Type",
      primary: true,
      card: "title",
      width: "26%",
      cell: (event) => <span className="mono" title={event.type}>{event.type}</span>,
    },
    { key: "status", label: "Status", width: "128px", card: "status", cell: (event) => <EventStatusBadge status={event.status} /> },
    { key: "source", label: "Source", width: "14%", cell: (event) => event.source_name },
    ...tenantColumn,
    {
      key: "provider_id",
      label: "Provider's id",
      card: "wide",
      cell: (event) => <span className="mono secondary" title={event.provider_id}>{event.provider_id}</span>,
    },
    { key: "jobs", label: "Jobs", width: "92px", end: true, cell: (event) => <JobTally event={event} /> },
    { key: "received", label: "Received", width: "96px", end: true, cell: (event) => <Ago at={event.received_at} /> },
  ];

  return (
    <>
      <PageHead
        title="Events"
        sub="Every webhook that was verified and kept, with what became of it."
        actions={
          <>
            <ButtonLink href="/timeline">Timeline</ButtonLink>
            <ButtonLink href="/replays">Replays</ButtonLink>
            {/* As the API selects; and never everything by accident. */}
            {canWrite && Object.values(asked()).some((value) => value !== undefined) && (
              <Button icon="retry" onClick={() => setReplaying(asked())}>
                Replay these…
              </Button>
            )}
          </>
        }
      />
      <Panel label="Events" padded={false}>
        <FilterBar>
          <SearchBox label="Search by any id" value={q} onChange={(q) => change({ q }, { replace: true })} />
          <ChoiceFilter
            label="Source"
            any="Any source"
            value={source}
            onChange={(source) => change({ source })}
            options={sources.map(({ name }) => ({ value: name, label: name }))}
          />
          <TextFilter label="Type, e.g. invoice.*" value={type} onChange={(type) => change({ type }, { replace: true })} />
          <TenantFilter value={tenant} onChange={change} />
          <PeriodFilter values={values} onChange={change} />
        </FilterBar>
        <SecondBar>
          <Segments<EventStatus | "">
            label="Status"
            value={status}
            onChange={(status) => change({ status })}
            options={statuses.map((status) => ({ value: status, label: status === "" ? "All" : eventLooks[status].label }))}
          />
          <Segments<"" | "violates" | "conflicts">
            label="Content"
            value={violates ? "violates" : conflicts ? "conflicts" : ""}
            onChange={(content) => change({ violates: content === "violates" ? "true" : "", conflicts: content === "conflicts" ? "true" : "" })}
            options={[
              { value: "", label: "Any" },
              { value: "violates", label: "Not as its schema says" },
              { value: "conflicts", label: "Came with other content" },
            ]}
          />
          <Fresh list={list} noun="event" />
        </SecondBar>
        <LiveTable
          list={list}
          label="Events"
          noun="event"
          columns={columns}
          idOf={(event) => event.id}
          hrefOf={(event) => `/events/${event.id}`}
          skeleton={12}
          filters={{
            ...filters,
            hint: <>Types match exactly, or by their beginning with a star at the end: <code>invoice.*</code>.</>,
          }}
          none={<NoEvents source={sources.find(({ scheme }) => scheme !== "mainstay")} />}
        />
      </Panel>
      {replaying && <ReplayDialog selection={replaying} onClose={() => setReplaying(null)} />}
    </>
  );
}

function NoEvents({ source }: { source: Source | undefined }) {
  return source === undefined ? (
    <Empty
      icon="events"
      title="No events yet"
      command={commands.sourceCreate()}
      actions={<ButtonLink href="/sources" variant="primary">To the sources</ButtonLink>}
    >
      Events come in through a source. Make one, here or with this command, and give its address to the provider.
    </Empty>
  ) : (
    <Empty icon="events" title="No events yet" command={commands.send(source.url)}>
      Send one from the provider&apos;s page. A request without a valid signature, like this one, is refused and shows up on the page
      of the source: a quick way to see that requests arrive at all.
    </Empty>
  );
}

/** How many jobs of the event are done, of how many. */
function JobTally({ event: { jobs } }: { event: Event }) {
  if (jobs.total === 0) return <span className="muted">none</span>;
  const parts = [
    jobs.dead > 0 && `${plural(jobs.dead, "dead letter")}`,
    jobs.retrying > 0 && `${jobs.retrying} retrying`,
    jobs.running > 0 && `${jobs.running} running`,
    jobs.waiting > 0 && `${jobs.waiting} waiting`,
    jobs.cancelled > 0 && `${jobs.cancelled} cancelled`,
  ].filter(Boolean);
  return (
    <span title={parts.length > 0 ? parts.join(", ") : undefined}>
      {jobs.done}/{jobs.total} done
    </span>
  );
}
