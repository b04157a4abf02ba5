import { useQuery } from "@tanstack/react-query";
import { client, unwrap } from "../api/client";
import { useLiveList } from "../api/live-list";
import { LIST_LIMIT, queries, useTenants } from "../api/queries";
import type { Job, JobState } from "../api/types";
import { commands } from "../lib/commands";
import { compact, count, shortId } from "../lib/format";
import { oneOf, text, useParamsInUrl } from "../lib/search-params";
import { Ago, Button, Empty, Id, PageHead, Panel, ProblemCard, Segments, Skeleton } from "../ui/basics";
import { ChoiceFilter, FilterBar, Fresh, SecondBar, TextFilter } from "../ui/filters";
import { JobStateBadge, jobLooks } from "../ui/status";
import { type Column, ListFoot, Table } from "../ui/table";
import css from "./jobs-page.module.css";

const states = ["", "waiting", "scheduled", "running", "retrying", "done", "dead", "cancelled"] as const;
const params = { state: oneOf(states, ""), queue: text(), kind: text(), tenant: text(), event: text() };

export function JobsPage() {
  const [values, change] = useParamsInUrl(params);
  const tenants = useTenants();
  const counts = useQuery(queries.jobCounts());
  const endpoints = useQuery(queries.endpoints()).data?.items ?? [];
  const list = useLiveList<Job>({
    area: "jobs",
    filters: values,
    idOf: (job) => job.id,
    fetchPage: (cursor) =>
      unwrap(
        client.GET("/v1/jobs", {
          params: {
            query: {
              cursor,
              limit: LIST_LIMIT,
              state: values.state || undefined,
              queue: values.queue || undefined,
              kind: values.kind || undefined,
              tenant: values.tenant || undefined,
              event: values.event || undefined,
            },
          },
        }),
      ),
  });
  const filtered = Object.values(values).some((value) => value !== "");
  const clear = () => change({ state: "", queue: "", kind: "", tenant: "", event: "" });
  const queues = Object.entries(counts.data?.queues ?? {}).sort(([a], [b]) => a.localeCompare(b));

  const columns: Column<Job>[] = [
    {
      key: "kind",
      label: "Kind",
      primary: true,
      card: "title",
      width: "15%",
      cell: (job) => <span className="mono" title={job.kind}>{job.kind}</span>,
    },
    { key: "state", label: "State", width: "132px", card: "status", cell: (job) => <JobStateBadge state={job.state} /> },
    {
      key: "to",
      label: "Goes to",
      width: "11%",
      cell: (job) => endpoints.find(({ id }) => id === job.endpoint_id)?.name ?? <span className="muted">built in</span>,
    },
    { key: "queue", label: "Queue", width: "10%", cell: (job) => job.queue },
    ...(tenants.many ? [{ key: "tenant", label: "Tenant", width: "12%", cell: (job: Job) => tenants.nameOf(job.tenant_id) }] : []),
    { key: "attempts", label: "Attempts", width: "86px", cell: (job) => `${job.attempts} of ${job.max_attempts}` },
    {
      key: "last",
      label: "Last error",
      card: "wide",
      cardLabel: false,
      cell: (job) => job.last_error && <span className="secondary" title={job.last_error}>{job.last_error}</span>,
    },
    { key: "id", label: "Id", width: "152px", card: "hide", cell: (job) => <Id value={job.id} /> },
    {
      key: "when",
      label: "Made",
      width: "90px",
      end: true,
      cell: (job) => <Ago at={job.created_at} />,
    },
  ];

  return (
    <>
      <PageHead title="Jobs" sub="Everything that happens in the background: pushes to endpoints, built-in work, the system's own upkeep." />
      <div className={css.queues}>
        {counts.error ? (
          <ProblemCard error={counts.error} onRetry={() => void counts.refetch()} what="The queues could not be counted" />
        ) : (
          <ul aria-label="Queues">
            {counts.data === undefined && (
              <li className={css.queue}>
                <Skeleton width="40%" />
                <Skeleton width="85%" />
              </li>
            )}
            {queues.map(([name, queue]) => (
              <li key={name}>
                <button type="button" className={css.queue} aria-pressed={values.queue === name} onClick={() => change({ queue: values.queue === name ? "" : name })}>
                  <strong className="truncate">{name}</strong>
                  <span>
                    <span title={count(queue.waiting)}><b>{compact(queue.waiting)}</b> waiting</span>
                    <span title={count(queue.active)}><b>{compact(queue.active)}</b> running</span>
                    <span title={count(queue.retrying)}><b>{compact(queue.retrying)}</b> retrying</span>
                    <span title={count(queue.failed)}><b>{compact(queue.failed)}</b> dead</span>
                  </span>
                </button>
              </li>
            ))}
          </ul>
        )}
      </div>
      <Panel label="Jobs" padded={false}>
        <FilterBar>
          <TextFilter label="Kind, e.g. endpoint.push" search value={values.kind} onChange={(kind) => change({ kind }, { replace: true })} />
          <ChoiceFilter
            label="Queue"
            any="Any queue"
            value={values.queue}
            onChange={(queue) => change({ queue })}
            options={queues.map(([name]) => ({ value: name, label: name }))}
          />
          {tenants.many && (
            <ChoiceFilter
              label="Tenant"
              any="Any tenant"
              value={values.tenant}
              onChange={(tenant) => change({ tenant })}
              options={tenants.list.map(({ id, name }) => ({ value: id, label: name }))}
            />
          )}
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
          <Fresh fresh={list.fresh} atLeast={list.freshIsAtLeast} noun={list.fresh === 1 ? "job" : "jobs"} onShow={list.showFresh} />
        </SecondBar>
        {list.error ? (
          <ProblemCard error={list.error} onRetry={list.reload} what="Jobs could not be read" />
        ) : list.rows?.length === 0 ? (
          filtered ? (
            <Empty icon="filter" title="No job matches these filters" actions={<Button onClick={clear}>Clear all filters</Button>} />
          ) : (
            <Empty icon="jobs" title="No jobs yet" command={commands.jobCreate()}>
              Bindings turn events into jobs, and your own code can make them through the API. This makes one that does nothing.
            </Empty>
          )
        ) : (
          <>
            <Table label="Jobs" columns={columns} rows={list.rows} idOf={(job) => job.id} hrefOf={(job) => `/jobs/${job.id}`} skeleton={12} goneIds={list.gone} />
            {list.rows && <ListFoot shown={list.rows.length} noun="jobs" more={list.more} />}
          </>
        )}
      </Panel>
    </>
  );
}
