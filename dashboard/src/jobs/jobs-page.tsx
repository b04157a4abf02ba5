import { useQuery } from "@tanstack/react-query";
import { TenantFilter, useTenantColumn } from "../access/tenant-filter";
import { client, unwrap } from "../api/client";
import { useLiveList } from "../api/live-list";
import { LIST_LIMIT, queries } from "../api/queries";
import type { Job, JobState } from "../api/types";
import { commands } from "../lib/commands";
import { shortId } from "../lib/format";
import { endpointOfQueue, queueName } from "../lib/queue";
import { given, oneOf, text, useFilters } from "../lib/search-params";
import { Ago, Button, ButtonLink, Empty, Id, PageHead, Panel, Segments } from "../ui/basics";
import { ChoiceFilter, FilterBar, Fresh, SearchBox, SecondBar } from "../ui/filters";
import { LiveTable } from "../ui/live-table";
import { JobStateBadge, jobLooks } from "../ui/status";
import type { Column } from "../ui/table";
import { Queue, Queues } from "./queues";
import { Workers } from "./workers";

const states = ["", "waiting", "scheduled", "running", "retrying", "done", "dead", "cancelled"] as const;
const params = { state: oneOf(states, ""), queue: text(), kind: text(), tenant: text(), event: text() };

export function JobsPage() {
  const filters = useFilters(params);
  const { values, change } = filters;
  const counts = useQuery(queries.jobCounts());
  const named = useQuery(queries.endpoints());
  const endpoints = named.data?.items ?? [];
  const tenantColumn = useTenantColumn<Job>();
  const list = useLiveList<Job>({
    area: "jobs",
    filters: values,
    idOf: (job) => job.id,
    fetchPage: (cursor) =>
      unwrap(client.GET("/v1/jobs", { params: { query: { cursor, limit: LIST_LIMIT, ...given(values) } } })),
  });
  const queues = Object.entries(counts.data?.queues ?? {})
    .map(([name, tally]) => ({ name, label: queueName(name, endpoints), ...tally }))
    .sort((a, b) => a.label.localeCompare(b.label));

  const columns: Column<Job>[] = [
    {
      key: "kind",
      label: "Kind",
      primary: true,
      card: "title",
      width: "17%",
      cell: (job) => <span className="mono" title={job.kind}>{job.kind}</span>,
    },
    { key: "state", label: "State", width: "132px", card: "status", cell: (job) => <JobStateBadge state={job.state} /> },
    { key: "queue", label: "Queue", width: "15%", cell: (job) => <Queue name={job.queue} label={queueName(job.queue, endpoints)} /> },
    ...tenantColumn,
    { key: "attempts", label: "Attempts", width: "88px", end: true, cell: (job) => `${job.attempts} of ${job.max_attempts}` },
    {
      key: "last",
      label: "Last error",
      card: "wide",
      cardLabel: false,
      cell: (job) => job.last_error && <span className="secondary" title={job.last_error}>{job.last_error}</span>,
    },
    { key: "id", label: "Id", width: "152px", card: "hide", cell: (job) => <Id value={job.id} /> },
    { key: "when", label: "Made", width: "90px", end: true, cell: (job) => <Ago at={job.created_at} /> },
  ];

  return (
    <>
      <PageHead
        title="Jobs"
        sub="Everything that happens in the background: pushes to endpoints, built-in work, the system's own upkeep."
        actions={<ButtonLink href="/queues">Queues</ButtonLink>}
      />
      <Queues
        // By their names they stand in another order than by their ids: not before these are known.
        queues={counts.data && named.isFetched ? queues : undefined}
        chosen={values.queue}
        onChoose={(queue) => change({ queue })}
        error={counts.error}
        onRetry={() => void counts.refetch()}
      />
      <Panel label="Jobs" padded={false}>
        <FilterBar>
          <SearchBox label="Kind, e.g. endpoint.deliver" value={values.kind} onChange={(kind) => change({ kind }, { replace: true })} />
          <ChoiceFilter
            label="Queue"
            any="Any queue"
            value={values.queue}
            onChange={(queue) => change({ queue })}
            options={queues.map(({ name, label }) => ({ value: name, label: endpointOfQueue(name) ? `to ${label}` : label }))}
          />
          <TenantFilter value={values.tenant} onChange={change} />
          {values.event !== "" && (
            <Button icon="cross" onClick={() => change({ event: "" })} title="Show the jobs of all events">
              {shortId(values.event)}
            </Button>
          )}
        </FilterBar>
        <SecondBar>
          <Segments<JobState | "">
            label="State"
            value={values.state}
            onChange={(state) => change({ state })}
            options={states.map((state) => ({ value: state, label: state === "" ? "All" : jobLooks[state].label }))}
          />
          <Fresh list={list} noun="job" />
        </SecondBar>
        <LiveTable
          list={list}
          label="Jobs"
          noun="job"
          columns={columns}
          idOf={(job) => job.id}
          hrefOf={(job) => `/jobs/${job.id}`}
          skeleton={12}
          filters={filters}
          none={
            <Empty icon="jobs" title="No jobs yet" command={commands.jobCreate()}>
              Bindings turn events into jobs, and your own code can make them through the API. This makes one that does nothing.
            </Empty>
          }
        />
      </Panel>
      {/* Last, and not before the list has its size, so that nothing moves when it comes. */}
      {(list.rows !== undefined || list.error !== null) && <Workers />}
    </>
  );
}
