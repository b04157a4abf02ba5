import { useQuery } from "@tanstack/react-query";
import { client, unwrap } from "../api/client";
import { useLiveList } from "../api/live-list";
import { LIST_LIMIT, queries, useSession } from "../api/queries";
import type { AuditEntry } from "../api/types";
import { given, text, useFilters } from "../lib/search-params";
import { Ago, Empty, Panel } from "../ui/basics";
import { ChoiceFilter, FilterBar, Fresh, PeriodFilter, periodParams, periodQuery, SearchBox, SecondBar, TextFilter } from "../ui/filters";
import { LiveTable } from "../ui/live-table";
import type { Column } from "../ui/table";
import { TenantFilter, useTenantColumn } from "./tenant-filter";

const params = { subject: text(), actor: text(), action: text(), tenant: text(), ...periodParams };

// Everything of an area: the API takes an action with a dot at its end so.
const areas: [string, string][] = [
  ["event.", "Events: read, filtered, replayed"],
  ["receipt.", "Requests: read, let in"],
  ["job.", "Jobs"],
  ["dead_letter.", "Dead letters"],
  ["source.", "Sources"],
  ["endpoint.", "Endpoints"],
  ["binding.", "Bindings"],
  ["configuration.", "Configuration"],
  ["user.", "Users"],
  ["key.", "API keys"],
  ["tenant.", "Tenants"],
  ["session.", "Sessions"],
  ["sql.", "SQL, also by hand"],
  ["audit.", "The audit log"],
];

const detailText = (detail: unknown): string =>
  detail == null ? "" : typeof detail === "string" ? detail : JSON.stringify(detail);

export function AuditTab() {
  const filters = useFilters(params);
  const { values, change } = filters;
  const { subject, actor, action, tenant } = values;
  const tenantColumn = useTenantColumn<AuditEntry>();
  const list = useLiveList<AuditEntry>({
    area: "audit",
    filters: values,
    idOf: (entry) => entry.id,
    fetchPage: (cursor) =>
      unwrap(
        client.GET("/v1/audit", {
          params: { query: { cursor, limit: LIST_LIMIT, ...given({ subject, actor, action, tenant }), ...periodQuery(values, Date.now()) } },
        }),
      ),
  });
  const columns: Column<AuditEntry>[] = [
    { key: "action", label: "What", card: "title", width: "15%", cell: (entry) => <code>{entry.action}</code> },
    { key: "actor", label: "Who", width: "18%", cell: (entry) => <span title={entry.actor}>{entry.actor}</span> },
    { key: "subject", label: "On what", width: "23%", cell: (entry) => entry.subject && <span className="mono" title={entry.subject}>{entry.subject}</span> },
    ...tenantColumn,
    { key: "detail", label: "Detail", card: "wide", cardLabel: false, cell: (entry) => detailText(entry.detail) && <span className="secondary" title={detailText(entry.detail)}>{detailText(entry.detail)}</span> },
    { key: "position", label: "Place", width: "84px", end: true, cell: (entry) => entry.position ?? <span className="muted" title="It gets its place within a second">…</span> },
    { key: "at", label: "When", width: "100px", end: true, card: "status", cell: (entry) => <Ago at={entry.at} /> },
  ];
  return (
    <>
      <Panel label="Audit log" padded={false}>
        <FilterBar>
          <SearchBox label="On what: an id, in full" value={subject} onChange={(subject) => change({ subject }, { replace: true })} />
          <TextFilter label="Who, e.g. key:deploy" value={actor} onChange={(actor) => change({ actor }, { replace: true })} />
          <ChoiceFilter
            label="What"
            any="Anything"
            value={action}
            onChange={(action) => change({ action })}
            options={areas.map(([value, label]) => ({ value, label }))}
          />
          <TenantFilter value={tenant} onChange={change} />
          <PeriodFilter values={values} onChange={change} />
        </FilterBar>
        <SecondBar>
          <Fresh list={list} noun="record" />
        </SecondBar>
        <LiveTable
          list={list}
          label="Audit log"
          noun="record"
          columns={columns}
          idOf={(entry) => entry.id}
          skeleton={10}
          filters={{ ...filters, hint: <>Who and what are matched in full: <code>user:anna@example.com</code>.</> }}
          none={<Empty title="Nothing yet">Every change, and every look at a payload, is written here.</Empty>}
        />
      </Panel>
      <Chain />
    </>
  );
}

/** Where the chain ends: who keeps this line elsewhere can prove that nothing in front of it was changed. */
function Chain() {
  const bound = useSession()?.tenant_id != null;
  const head = useQuery({ ...queries.auditHead(), enabled: !bound }).data;
  if (head === undefined || head.position === 0) return null;
  return (
    <Panel title="The end of the chain">
      <p className="mono" style={{ overflowWrap: "anywhere" }}>{head.position}:{head.hash}</p>
      <p className="secondary">
        Each record's hash goes over the one before it. Keep this line elsewhere: <code>mainstay audit verify --anchor</code> proves by it that nothing in front of it was changed.
      </p>
    </Panel>
  );
}
