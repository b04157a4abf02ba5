import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { TenantFilter, useTenantColumn } from "../access/tenant-filter";
import { client, unwrap } from "../api/client";
import { useLiveList } from "../api/live-list";
import { LIST_LIMIT, queries, useCanWrite } from "../api/queries";
import type { Category, DeadLetter, DeadLetterSelection } from "../api/types";
import { count, words } from "../lib/format";
import { given, text, useFilters } from "../lib/search-params";
import { Ago, Button, ButtonLink, buttonClass, Empty, PageHead, Panel, Skeleton } from "../ui/basics";
import { ChoiceFilter, FilterBar, Fresh, PeriodFilter, periodParams, periodQuery, SearchBox, TextFilter } from "../ui/filters";
import { Icon } from "../ui/icon";
import { LiveTable } from "../ui/live-table";
import { Reason } from "../ui/status";
import type { Column } from "../ui/table";
import { DiscardDialog, RetryDialog } from "./dead-letter-dialogs";
import { Reasons, useReasons } from "./dead-letter-reasons";
import css from "./dead-letters-page.module.css";

const categories = ["network", "timeout", "rate_limited", "validation", "auth", "conflict", "database", "provider", "bug", "unknown"];
const params = { category: text(), code: text(), endpoint: text(), kind: text(), tenant: text(), ...periodParams };

export function DeadLettersPage() {
  const filters = useFilters(params);
  const { values, change, filtered } = filters;
  const canWrite = useCanWrite("operator");
  const endpoints = useQuery(queries.endpoints()).data?.items ?? [];
  const tenantColumn = useTenantColumn<DeadLetter>();
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [acting, setActing] = useState<{ what: "retry" | "discard"; selection: DeadLetterSelection } | null>(null);

  const { category, code, endpoint, kind, tenant } = values;
  const query = () => ({
    ...given({ code, endpoint, kind, tenant }),
    category: (category || undefined) as Category | undefined,
    ...periodQuery(values, Date.now()),
  });
  const reasons = useReasons(values);
  const list = useLiveList<DeadLetter>({
    area: "dead-letters",
    filters: values,
    idOf: (letter) => letter.job_id,
    fetchPage: (cursor) =>
      unwrap(client.GET("/v1/dead-letters", { params: { query: { cursor, limit: LIST_LIMIT, ...query() } } })),
  });

  // What has been run again by somebody else is no longer a dead letter, and no longer selected.
  const chosen = useMemo(
    () => (list.rows ?? []).map(({ job_id }) => job_id).filter((id) => selected.has(id) && !list.gone.has(id)),
    [list.rows, list.gone, selected],
  );
  const toggle = (ids: string[], on: boolean) =>
    setSelected((before) => new Set(on ? [...before, ...ids] : [...before].filter((id) => !ids.includes(id))));
  const act = (what: "retry" | "discard") =>
    setActing({ what, selection: chosen.length > 0 ? { job_ids: chosen } : query() });
  const acted = (done: boolean) => {
    setActing(null);
    if (!done) return;
    setSelected(new Set());
    list.reload();
    void reasons.groups.refetch();
  };

  const columns: Column<DeadLetter>[] = [
    {
      key: "what",
      label: "Event or job",
      primary: true,
      card: "title",
      width: "20%",
      cell: (letter) => <span className="mono" title={letter.kind}>{letter.event_type ?? letter.kind}</span>,
    },
    { key: "endpoint", label: "Endpoint", width: "13%", cell: (letter) => letter.endpoint_name ?? <span className="muted">built in</span> },
    ...tenantColumn,
    { key: "reason", label: "Reason", width: "20%", card: "wide", cardLabel: false, cell: (letter) => <Reason category={letter.category} code={letter.code} /> },
    { key: "error", label: "Error", card: "wide", cardLabel: false, cell: (letter) => <span className="secondary" title={letter.error}>{letter.error}</span> },
    { key: "attempts", label: "Tries", width: "64px", end: true, cell: (letter) => letter.attempts },
    { key: "died", label: "Died", width: "92px", end: true, cell: (letter) => <Ago at={letter.died_at} /> },
  ];

  return (
    <>
      <PageHead
        title="Dead letters"
        sub="Jobs that have used up their tries, or met an error that no retry can mend. They are kept until a person decides."
        actions={
          <a
            className={buttonClass({})}
            href={`/v1/dead-letters/export?${new URLSearchParams(Object.entries(query()).filter((entry): entry is [string, string] => entry[1] !== undefined))}`}
            download="dead-letters.ndjson"
          >
            <Icon name="download" />
            Export
          </a>
        }
      />
      <div className={css.groups}>
        <Reasons
          all={reasons}
          chosen={values}
          onChoose={(reason) => {
            setSelected(new Set());
            change({ ...reason });
          }}
          everything={values.period === "all" && tenant === ""}
        />
      </div>
      {reasons.groups.isPending ? (
        // Until it is known how much room the reasons take: the list would only be pushed down.
        <Panel label="Dead letters"><div style={{ height: 420 }} aria-busy="true"><Skeleton width="60%" /></div></Panel>
      ) : (
        <Panel label="Dead letters" padded={false}>
          <FilterBar>
            <SearchBox label="Code, e.g. server_error" value={code} onChange={(code) => change({ code }, { replace: true })} />
            <ChoiceFilter
              label="Category"
              any="Any category"
              value={category}
              onChange={(category) => change({ category })}
              options={categories.map((value) => ({ value, label: words(value) }))}
            />
            <ChoiceFilter
              label="Endpoint"
              any="Any endpoint"
              value={endpoint}
              onChange={(endpoint) => change({ endpoint })}
              options={endpoints.map(({ name }) => ({ value: name, label: name }))}
            />
            <TextFilter label="Kind" value={kind} onChange={(kind) => change({ kind }, { replace: true })} />
            <TenantFilter value={tenant} onChange={change} />
            <PeriodFilter values={values} onChange={change} />
          </FilterBar>
          <div className={css.bar}>
            {canWrite ? (
              <span aria-live="polite">
                {chosen.length > 0 ? (
                  <>
                    <strong>{count(chosen.length)}</strong> selected{" "}
                    <Button small variant="quiet" onClick={() => setSelected(new Set())}>Clear</Button>
                  </>
                ) : filtered ? (
                  "Nothing selected: what you do is for all that match the filters."
                ) : (
                  "Nothing selected: what you do is for all dead letters."
                )}
              </span>
            ) : (
              <span>Each opens as the job that died</span>
            )}
            <Fresh list={list} noun="dead letter" />
            {canWrite && (
              <div className={css.acts}>
                <Button icon="retry" variant="primary" onClick={() => act("retry")} disabled={!list.rows?.length}>
                  {chosen.length > 0 ? `Run ${count(chosen.length)} again…` : "Run all again…"}
                </Button>
                <Button icon="trash" variant="danger" onClick={() => act("discard")} disabled={!list.rows?.length}>
                  {chosen.length > 0 ? `Discard ${count(chosen.length)}…` : "Discard all…"}
                </Button>
              </div>
            )}
          </div>
          <LiveTable
            list={list}
            label="Dead letters"
            noun="dead letter"
            columns={columns}
            idOf={(letter) => letter.job_id}
            hrefOf={(letter) => `/jobs/${letter.job_id}`}
            skeleton={8}
            selection={canWrite ? { has: (id) => selected.has(id), toggle, label: (id) => `Select ${id}` } : undefined}
            filters={filters}
            none={
              <Empty icon="check" title="Nothing waits for you here" actions={<ButtonLink href="/jobs?state=retrying">Jobs being retried</ButtonLink>}>
                A job that fails for good appears here the moment it does, with everything that was tried.
              </Empty>
            }
          />
        </Panel>
      )}
      {acting?.what === "retry" && <RetryDialog selection={acting.selection} onClose={acted} />}
      {acting?.what === "discard" && <DiscardDialog selection={acting.selection} onClose={acted} />}
    </>
  );
}
