import { client, unwrap } from "../api/client";
import { useLiveList } from "../api/live-list";
import { LIST_LIMIT } from "../api/queries";
import type { AuditEntry } from "../api/types";
import { Ago, Empty, Panel } from "../ui/basics";
import { LiveTable } from "../ui/live-table";
import type { Column } from "../ui/table";

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
    { key: "action", label: "What", card: "title", width: "15%", cell: (entry) => <code>{entry.action}</code> },
    { key: "actor", label: "Who", width: "18%", cell: (entry) => <span title={entry.actor}>{entry.actor}</span> },
    { key: "subject", label: "On what", width: "23%", cell: (entry) => entry.subject && <span className="mono" title={entry.subject}>{entry.subject}</span> },
    { key: "detail", label: "Detail", card: "wide", cardLabel: false, cell: (entry) => detailText(entry.detail) && <span className="secondary" title={detailText(entry.detail)}>{detailText(entry.detail)}</span> },
    { key: "at", label: "When", width: "100px", end: true, card: "status", cell: (entry) => <Ago at={entry.at} /> },
  ];
  return (
    <Panel title="Audit log" padded={false}>
      <LiveTable
        list={list}
        label="Audit log"
        noun="record"
        columns={columns}
        idOf={(entry) => entry.id}
        skeleton={10}
        none={<Empty title="Nothing yet">Every change that a person or a key makes is written here.</Empty>}
      />
    </Panel>
  );
}
