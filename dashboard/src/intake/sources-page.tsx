import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries, useCanWrite, useTenants } from "../api/queries";
import type { Source } from "../api/types";
import { commands } from "../lib/commands";
import { compact, count } from "../lib/format";
import { Ago, Button, Empty, PageHead, Panel, ProblemCard } from "../ui/basics";
import { EnabledBadge } from "../ui/status";
import { type Column, Table } from "../ui/table";
import { schemes } from "./schemes";
import { CreateSource } from "./source-form";

export function SourcesPage() {
  const sources = useQuery(queries.sources());
  const tenants = useTenants();
  const canWrite = useCanWrite("admin");
  const [creating, setCreating] = useState(false);
  const columns: Column<Source>[] = [
    { key: "name", label: "Name", primary: true, card: "title", width: "20%", cell: (source) => source.name },
    { key: "status", label: "Status", width: "124px", card: "status", cell: (source) => <EnabledBadge enabled={source.enabled} /> },
    { key: "scheme", label: "Provider", cell: (source) => schemes[source.scheme]?.label ?? source.scheme },
    ...(tenants.many ? [{ key: "tenant", label: "Tenant", width: "14%", cell: (source: Source) => tenants.nameOf(source.tenant_id) }] : []),
    { key: "events", label: "Events", width: "84px", end: true, cell: (source) => <span title={count(source.stats.events)}>{compact(source.stats.events)}</span> },
    { key: "duplicates", label: "Duplicates", width: "92px", end: true, cell: (source) => <span title={count(source.stats.duplicates)}>{compact(source.stats.duplicates)}</span> },
    { key: "refused", label: "Refused", width: "80px", end: true, cell: (source) => <span title={count(source.stats.refused)}>{compact(source.stats.refused)}</span> },
    { key: "last", label: "Last event", width: "108px", end: true, cell: (source) => <Ago at={source.stats.last_event_at} /> },
  ];
  return (
    <>
      <PageHead
        title="Sources"
        sub="Named doors for inbound webhooks. Each verifies one provider's signatures."
        actions={canWrite && <Button icon="plus" variant="primary" onClick={() => setCreating(true)}>New source</Button>}
      />
      <Panel label="Sources" padded={false}>
        {sources.data === undefined && sources.error ? (
          <ProblemCard error={sources.error} onRetry={() => void sources.refetch()} what="Sources could not be read" />
        ) : sources.data?.items.length === 0 ? (
          <Empty
            icon="sources"
            title="No sources yet"
            command={commands.sourceCreate()}
            actions={canWrite && <Button icon="plus" variant="primary" onClick={() => setCreating(true)}>New source</Button>}
          >
            Make one for each provider that sends you webhooks, here or on the command line.
          </Empty>
        ) : (
          <Table label="Sources" columns={columns} rows={sources.data?.items} idOf={(source) => source.id} hrefOf={(source) => `/sources/${source.id}`} skeleton={4} />
        )}
      </Panel>
      {creating && <CreateSource onClose={() => setCreating(false)} />}
    </>
  );
}
