import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { client, unwrap } from "../api/client";
import { useLiveList } from "../api/live-list";
import { useConnection } from "../api/live-provider";
import { LIST_LIMIT, queries, useCanWrite, useTenants } from "../api/queries";
import type { Category, DeadLetter, DeadLetterGroup, DeadLetterSelection } from "../api/types";
import { count, words } from "../lib/format";
import { text, useParamsInUrl } from "../lib/search-params";
import { useStableOrder } from "../lib/stable-order";
import { Ago, Button, ButtonLink, buttonClass, Empty, PageHead, Panel, ProblemCard, Skeleton } from "../ui/basics";
import { ChoiceFilter, FilterBar, Fresh, PeriodFilter, periodParams, periodQuery, SecondBar, TextFilter } from "../ui/filters";
import { Icon } from "../ui/icon";
import { Reason } from "../ui/status";
import { type Column, ListFoot, Table } from "../ui/table";
import { DiscardDialog, RetryDialog } from "./dead-letter-dialogs";
import css from "./dead-letters-page.module.css";

const categories = ["network", "timeout", "rate_limited", "validation", "auth", "conflict", "database", "provider", "bug", "unknown"];
const params = { category: text(), code: text(), endpoint: text(), kind: text(), tenant: text(), ...periodParams };

export function DeadLettersPage() {
  const [values, change] = useParamsInUrl(params);
  const tenants = useTenants();
  const canWrite = useCanWrite();
  const connection = useConnection();
  const endpoints = useQuery(queries.endpoints()).data?.items ?? [];
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [acting, setActing] = useState<{ what: "retry" | "discard"; selection: DeadLetterSelection } | null>(null);

  const query = () => ({
    category: (values.category || undefined) as Category | undefined,
    code: values.code || undefined,
    endpoint: values.endpoint || undefined,
    kind: values.kind || undefined,
    tenant: values.tenant || undefined,
    ...periodQuery(values, Date.now()),
  });
  const groups = useQuery({
    // By tenant and period only: choosing a reason narrows the list, not the choice of reasons.
    ...queries.deadLetterGroups(
      { tenant: values.tenant || undefined, ...periodQuery(values, Date.now()) },
      { tenant: values.tenant, period: values.period, from: values.from, to: values.to },
    ),
    refetchInterval: connection === "live" ? false : 10_000,
  });
  const reasons = useStableOrder(`${values.tenant} ${values.period} ${values.from} ${values.to}`, groups.data?.items, keyOfGroup);
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
  const filtered = Object.entries(values).some(([name, value]) => value !== (name === "period" ? "all" : ""));
  const clear = () => change({ category: "", code: "", endpoint: "", kind: "", tenant: "", period: "all", from: "", to: "" });
  const none = list.rows?.length === 0;
  const act = (what: "retry" | "discard") =>
    setActing({ what, selection: chosen.length > 0 ? { job_ids: chosen } : query() });
  const acted = () => {
    setSelected(new Set());
    list.reload();
    void groups.refetch();
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
    ...(tenants.many ? [{ key: "tenant", label: "Tenant", width: "11%", cell: (letter: DeadLetter) => tenants.nameOf(letter.tenant_id) }] : []),
    { key: "reason", label: "Reason", width: "20%", card: "wide", cardLabel: false, cell: (letter) => <Reason category={letter.category} code={letter.code} /> },
    { key: "error", label: "Error", card: "wide", cardLabel: false, cell: (letter) => <span className="secondary" title={letter.error}>{letter.error}</span> },
    { key: "attempts", label: "Tries", width: "60px", cell: (letter) => letter.attempts },
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
        <Panel title="Reasons" padded={false}>
          {groups.data === undefined && groups.error ? (
            <ProblemCard error={groups.error} onRetry={() => void groups.refetch()} what="Reasons could not be read" />
          ) : reasons === undefined ? (
            <div>{[0, 1, 2].map((row) => <div key={row} className={css.skeleton}><Skeleton width="55%" /></div>)}</div>
          ) : reasons.length === 0 ? (
            <Empty icon="check" title="No dead letters">
              {values.period === "all" && values.tenant === ""
                ? "Every job has ended well or is still being tried."
                : "None in this period, for this tenant."}
            </Empty>
          ) : (
            <ul className={css.list} aria-label="Reasons">
              {reasons.map((group) => (
                <GroupRow
                  key={keyOfGroup(group)}
                  group={group}
                  on={
                    values.category === group.category &&
                    values.code === group.code &&
                    values.kind === group.kind &&
                    values.endpoint === (group.endpoint_name ?? "")
                  }
                  onToggle={(on) => {
                    setSelected(new Set());
                    change(
                      on
                        ? { category: group.category, code: group.code, kind: group.kind, endpoint: group.endpoint_name ?? "" }
                        : { category: "", code: "", kind: "", endpoint: "" },
                    );
                  }}
                />
              ))}
            </ul>
          )}
        </Panel>
      </div>
      {groups.isPending ? (
        // Until it is known how much room the reasons take: the list would only be pushed down.
        <Panel label="Dead letters"><div style={{ height: 420 }} aria-busy="true"><Skeleton width="60%" /></div></Panel>
      ) : (
      <Panel label="Dead letters" padded={false}>
        <FilterBar>
          <TextFilter label="Code, e.g. http_500" search value={values.code} onChange={(code) => change({ code }, { replace: true })} />
          <ChoiceFilter
            label="Category"
            any="Any category"
            value={values.category}
            onChange={(category) => change({ category })}
            options={categories.map((value) => ({ value, label: words(value) }))}
          />
          <ChoiceFilter
            label="Endpoint"
            any="Any endpoint"
            value={values.endpoint}
            onChange={(endpoint) => change({ endpoint })}
            options={endpoints.map(({ name }) => ({ value: name, label: name }))}
          />
          <TextFilter label="Kind" value={values.kind} onChange={(kind) => change({ kind }, { replace: true })} />
          {tenants.many && (
            <ChoiceFilter
              label="Tenant"
              any="Any tenant"
              value={values.tenant}
              onChange={(tenant) => change({ tenant })}
              options={tenants.list.map(({ id, name }) => ({ value: id, label: name }))}
            />
          )}
          <PeriodFilter values={values} onChange={change} />
        </FilterBar>
        {canWrite && (
          <div className={css.bar}>
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
            <Button icon="retry" variant="primary" onClick={() => act("retry")} disabled={none || list.rows === undefined}>
              {chosen.length > 0 ? `Run ${count(chosen.length)} again…` : "Run all again…"}
            </Button>
            <Button icon="trash" variant="danger" onClick={() => act("discard")} disabled={none || list.rows === undefined}>
              {chosen.length > 0 ? `Discard ${count(chosen.length)}…` : "Discard all…"}
            </Button>
          </div>
        )}
        {(list.fresh > 0 || list.rows === undefined || list.rows.length > 0) && (
          <SecondBar>
            <span className="secondary">{list.rows ? "Each opens as the job that died" : "\u00a0"}</span>
            <Fresh fresh={list.fresh} atLeast={list.freshIsAtLeast} noun={list.fresh === 1 ? "dead letter" : "dead letters"} onShow={list.showFresh} />
          </SecondBar>
        )}
        {list.error ? (
          <ProblemCard error={list.error} onRetry={list.reload} what="Dead letters could not be read" />
        ) : none ? (
          filtered ? (
            <Empty icon="filter" title="No dead letter matches these filters" actions={<Button onClick={clear}>Clear all filters</Button>} />
          ) : (
            <Empty icon="check" title="Nothing waits for you here" actions={<ButtonLink href="/jobs?state=retrying">Jobs being retried</ButtonLink>}>
              A job that fails for good appears here the moment it does, with everything that was tried.
            </Empty>
          )
        ) : (
          <>
            <Table
              label="Dead letters"
              columns={columns}
              rows={list.rows}
              idOf={(letter) => letter.job_id}
              hrefOf={(letter) => `/jobs/${letter.job_id}`}
              skeleton={8}
              goneIds={list.gone}
              selection={
                canWrite
                  ? {
                      has: (id) => selected.has(id),
                      toggle: (ids, on) =>
                        setSelected((before) => {
                          const next = new Set(before);
                          for (const id of ids) {
                            if (on) next.add(id);
                            else next.delete(id);
                          }
                          return next;
                        }),
                      label: (id) => `Select ${id}`,
                    }
                  : undefined
              }
            />
            {list.rows && <ListFoot shown={list.rows.length} noun="dead letters" more={list.more} />}
          </>
        )}
      </Panel>
      )}
      {acting?.what === "retry" && (
        <RetryDialog
          selection={acting.selection}
          onClose={(done) => {
            setActing(null);
            if (done) acted();
          }}
        />
      )}
      {acting?.what === "discard" && (
        <DiscardDialog
          selection={acting.selection}
          onClose={(done) => {
            setActing(null);
            if (done) acted();
          }}
        />
      )}
    </>
  );
}

const keyOfGroup = ({ category, code, kind, endpoint_name }: DeadLetterGroup) => [category, code, kind, endpoint_name].join(" ");

function GroupRow({ group, on, onToggle }: { group: DeadLetterGroup; on: boolean; onToggle: (on: boolean) => void }) {
  return (
    <li>
      <button type="button" className={css.group} aria-pressed={on} onClick={() => onToggle(!on)}>
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
}
