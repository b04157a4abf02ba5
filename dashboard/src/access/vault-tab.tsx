import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { queries, useCanWrite } from "../api/queries";
import type { Rotation, Vault } from "../api/types";
import { absolute } from "../lib/format";
import { Empty, Facts, Panel, ProblemCard, Skeleton } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Badge, type Look } from "../ui/status";
import { type Column, Table } from "../ui/table";

type MasterKey = Vault["master_keys"][number];

const keyLook = (key: MasterKey): Look => {
  if (!key.configured) return { tone: "bad", icon: "cross", label: "Missing" };
  return key.wraps ? { tone: "ok", icon: "check", label: "Wraps" } : { tone: "idle", icon: "clock", label: "Unwraps" };
};

const stateLook = (vault: Vault): Look => {
  if (!vault.on) return { tone: "idle", icon: "minus", label: "Off" };
  return vault.whole ? { tone: "ok", icon: "check", label: "On" } : { tone: "warn", icon: "warning", label: "In part" };
};

const modes: Record<Rotation["mode"], string> = { master: "Master key", seal: "Seal the rest", data: "Data keys" };
const phases: Record<Rotation["phase"], string> = { wrap: "Wrapping keys", settle: "Waiting for all nodes", seal: "Sealing values", done: "Done" };

function rotationFacts(rotation: Rotation): [string, ReactNode][] {
  return [
    ["What", modes[rotation.mode]],
    ["How far", phases[rotation.phase]],
    ["Started", absolute(rotation.started_at)],
    ["By", rotation.started_by],
    ["Ended", rotation.ended_at ? absolute(rotation.ended_at) : "–"],
    ["Keys wrapped", rotation.keys_wrapped.toLocaleString()],
    ["Rows looked at", rotation.rows.toLocaleString()],
    ["Values sealed", rotation.values_sealed.toLocaleString()],
    ["Not readable", rotation.values_unreadable.toLocaleString()],
    ["Old keys removed", rotation.keys_removed.toLocaleString()],
  ];
}

const columns: Column<MasterKey>[] = [
  { key: "id", label: "Master key", card: "title", cell: (key) => <code>{key.id}</code> },
  { key: "state", label: "State", width: "120px", cell: (key) => <Badge look={keyLook(key)} /> },
  { key: "current", label: "Data keys", width: "100px", end: true, cell: (key) => key.current.toLocaleString() },
  { key: "retired", label: "Retired", width: "100px", end: true, cell: (key) => key.retired.toLocaleString() },
];

/** Which keys there are, and how far a rotation is. Keys themselves are nowhere; what is done to them, the command line does. */
export function VaultTab() {
  const may = useCanWrite("admin");
  const vault = useQuery({ ...queries.vault(), enabled: may });
  if (!may) return <Panel label="Encryption"><Empty icon="question" title="Shown to admins and owners" /></Panel>;
  if (vault.data === undefined && vault.error) return <Panel title="Encryption at rest"><ProblemCard error={vault.error} onRetry={() => void vault.refetch()} what="The keys could not be read" /></Panel>;
  return (
    <div className={detail.columns}>
      <Panel title="Encryption at rest" padded={false} actions={vault.data && <Badge look={stateLook(vault.data)} />}>
        {vault.data && !vault.data.on ? (
          <Empty icon="minus" title="It is off">Payloads and secrets are stored as they are. The command `mainstay vault master-key` makes a key to turn it on with.</Empty>
        ) : (
          <Table label="Master keys" columns={columns} rows={vault.data?.master_keys} idOf={(key) => key.id} skeleton={1} />
        )}
      </Panel>
      <Panel title="Last rotation">
        {vault.data === undefined ? (
          <Skeleton width="60%" />
        ) : vault.data.rotation ? (
          <Facts items={rotationFacts(vault.data.rotation)} />
        ) : (
          <Empty icon="clock" title="There was none">`mainstay vault rotate` begins one.</Empty>
        )}
      </Panel>
    </div>
  );
}
