import { useQuery } from "@tanstack/react-query";
import { queries, useSession } from "../api/queries";
import type { MainstayNode } from "../api/types";
import { Ago, Panel, ProblemCard } from "../ui/basics";
import { Badge, type Look } from "../ui/status";
import { type Column, Table } from "../ui/table";

const look = (node: MainstayNode): Look => {
  if (node.silent) return { tone: "warn", icon: "warning", label: "Silent" };
  return node.role === "owner" ? { tone: "ok", icon: "check", label: "Owns the jobs" } : { tone: "idle", icon: "clock", label: "Stands by" };
};

const columns: Column<MainstayNode>[] = [
  { key: "id", label: "Node", primary: true, card: "title", cell: (node) => <span className="truncate" title={node.id}>{node.id}{node.this && " (this one)"}</span> },
  { key: "role", label: "Role", width: "150px", card: "status", cell: (node) => <Badge look={look(node)} /> },
  { key: "version", label: "Version", width: "110px", cell: (node) => node.version },
  { key: "address", label: "Internal door", cell: (node) => <span className="truncate" title={node.address ?? undefined}>{node.address ?? "none"}</span> },
  { key: "since", label: "Since", width: "130px", cell: (node) => <Ago at={node.since} /> },
  { key: "seen", label: "Heard of", width: "130px", cell: (node) => <Ago at={node.last_seen_at} /> },
];

/** Who serves the installation, where it is more than one. It is about the whole of it: who is bound to one tenant does not see it. */
export function Nodes() {
  const bound = useSession()?.tenant_id != null;
  const { data, error, refetch } = useQuery({ ...queries.nodes(), enabled: !bound });
  if (bound) return null;
  if (error && !data) return <Panel title="Nodes"><ProblemCard error={error} onRetry={() => void refetch()} what="The nodes could not be listed" /></Panel>;
  // Most installations have one: nothing is said about what nobody needs to know.
  if (!data || data.items.length < 2) return null;
  return (
    <Panel title="Nodes" padded={false}>
      <Table label="Nodes" columns={columns} rows={data.items} idOf={(node) => node.id} />
    </Panel>
  );
}
