import { useState } from "react";
import { client, unwrap } from "../api/client";
import { useLiveList } from "../api/live-list";
import { LIST_LIMIT } from "../api/queries";
import type { Receipt, Source } from "../api/types";
import { bytes, compact, count } from "../lib/format";
import { Ago, Button, Empty, Panel } from "../ui/basics";
import { Fresh, SecondBar } from "../ui/filters";
import { LiveTable } from "../ui/live-table";
import { VerdictBadge } from "../ui/status";
import type { Column } from "../ui/table";
import ui from "../ui/ui.module.css";
import { ReverifyDialog } from "./reverify-dialog";

const columns: Column<Receipt>[] = [
  { key: "reason", label: "Why", card: "title", primary: true, cell: ({ reason, verdict }) => <span className={ui.chip} title={reason ?? verdict}>{reason ?? verdict}</span> },
  { key: "verdict", label: "Verdict", width: "140px", card: "status", cell: ({ verdict }) => <VerdictBadge verdict={verdict} /> },
  { key: "remote", label: "From", width: "21%", cell: ({ remote }) => <code title={remote}>{remote}</code> },
  { key: "bytes", label: "Size", width: "80px", end: true, cell: (receipt) => bytes(receipt.bytes) },
  { key: "at", label: "Received", width: "96px", end: true, cell: ({ received_at }) => <Ago at={received_at} /> },
];

/** Requests that were not let in: kept as evidence, and the first place to look when a provider says that it sent something. */
export function Refused({ source, canWrite }: { source: Source; canWrite: boolean }) {
  const [verifying, setVerifying] = useState(false);
  const { stats } = source;
  const list = useLiveList<Receipt>({
    area: "receipts",
    filters: { source: source.name },
    idOf: (receipt) => receipt.id,
    fetchPage: (cursor) =>
      unwrap(client.GET("/v1/receipts", { params: { query: { source: source.name, cursor, limit: LIST_LIMIT } } })),
  });
  return (
    <Panel
      title="Refused requests"
      padded={false}
      actions={canWrite && list.rows !== undefined && list.rows.length > 0 && <Button onClick={() => setVerifying(true)}>Verify again…</Button>}
    >
      {(list.fresh > 0 || list.rows === undefined || list.rows.length > 0) && (
        <SecondBar>
          <span className="secondary">
            Nothing in them was processed
            {stats.refused_not_kept > 0 && (
              <>
                ; <span title={count(stats.refused_not_kept)}>{compact(stats.refused_not_kept)}</span> more, the first{" "}
                <Ago at={stats.refused_not_kept_since} />, were only counted
              </>
            )}
          </span>
          <Fresh list={list} noun="refused request" />
        </SecondBar>
      )}
      <LiveTable
        list={list}
        label="Refused requests"
        noun="refused request"
        columns={columns}
        idOf={(receipt) => receipt.id}
        hrefOf={(receipt) => `/receipts/${receipt.id}`}
        skeleton={4}
        none={<Empty icon="shield" title="Nothing was refused">A request that cannot be verified is kept here, with the reason and what to do about it.</Empty>}
      />
      {verifying && <ReverifyDialog source={source} onClose={() => setVerifying(false)} />}
    </Panel>
  );
}
