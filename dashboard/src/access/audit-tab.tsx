import { client, unwrap } from "../api/client";
import { useLiveList } from "../api/live-list";
import { LIST_LIMIT } from "../api/queries";
import type { AuditEntry } from "../api/types";
import { Ago, Empty, Panel, ProblemCard } from "../ui/basics";
import { type Column, ListFoot, Table } from "../ui/table";

const detailText = (detail: unknown): string =>
  detail == null ? "" : typeof detail === "string" ? detail : JSON.stringify(detail);

export function AuditTab() {
  const list = useLiveList<AuditEntry>({
    area: "audit",
    filters: {},
    idOf: (entry) => entry.id,
    fetchPage: (cursor) => unwrap(client.GET("/v1/audit", { params: { query: { cursor, limit: LIST_LIMIT } } })),
  });
  const columns: Column<AuditEntry>[] = [
    { key: "action", label: "What", card: "title", width: "20%", cell: (entry) => <code>{entry.action}</code> },
    { key: "actor", label: "Who", width: "22%", cell: (entry) => <span title={entry.actor}>{entry.actor}</span> },
    { key: "subject", label: "On what", width: "22%", cell: (entry) => <span className="mono" title={entry.subject}>{entry.subject}</span> },
    { key: "detail", label: "Detail", card: "wide", cardLabel: false, cell: (entry) => detailText(entry.detail) && <span className="secondary" title={detailText(entry.detail)}>{detailText(entry.detail)}</span> },
    { key: "at", label: "When", width: "100px", end: true, card: "status", cell: (entry) => <Ago at={entry.at} /> },
  ];
  return (
    <Panel title="Audit log" padded={false}>
      {list.error ? (
        <ProblemCard error={list.error} onRetry={list.reload} what="The audit log could not be read" />
      ) : list.rows?.length === 0 ? (
        <Empty title="Nothing yet">Every change that a person or a key makes is written here.</Empty>
      ) : (
        <>
          <Table label="Audit log" columns={columns} rows={list.rows} idOf={(entry) => entry.id} skeleton={10} />
          {list.rows && <ListFoot shown={list.rows.length} noun="entries" more={list.more} />}
        </>
      )}
    </Panel>
  );
}
