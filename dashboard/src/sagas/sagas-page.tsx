import { useQuery } from "@tanstack/react-query";
import { queries, useTenants } from "../api/queries";
import type { Saga, SagaRun } from "../api/types";
import { commands } from "../lib/commands";
import { Ago, Empty, PageHead, Panel, ProblemCard } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { type Column, sub, Table } from "../ui/table";
import { RunBadge } from "./looks";

/** The step that something happens in. */
export const atWork = ({ steps }: SagaRun): string =>
  steps.find(({ state }) => state === "running" || state === "compensating" || state === "unknown")?.name ?? "—";

export function SagasPage() {
  const sagas = useQuery(queries.sagas());
  const failed = useQuery(queries.sagaRuns({ state: "failed" }));
  const waiting = useQuery(queries.sagaRuns({ state: "waiting" }));
  const tenants = useTenants();
  const columns: Column<Saga>[] = [
    { key: "name", label: "Name", primary: true, card: "title", cell: ({ name }) => name },
    ...(tenants.many ? [{ key: "tenant", label: "Tenant", width: "20%", cell: (saga: Saga) => tenants.nameOf(saga.tenant_id) }] : []),
    { key: "version", label: "Version", width: "100px", end: true, cell: ({ version }) => version },
    { key: "since", label: "Since", width: "140px", end: true, cell: ({ updated_at }) => <Ago at={updated_at} /> },
  ];
  const needed = [...(failed.data?.items ?? []), ...(waiting.data?.items ?? [])];
  return (
    <>
      <PageHead title="Sagas" sub="Steps that belong together: all of them are done, or what was done is undone." />
      <div className={detail.stack}>
        {needed.length > 0 && (
          <Panel title="A person is needed" padded={false}>
            <RunTable label="Runs that need a person" runs={needed} />
          </Panel>
        )}
        <Panel label="Sagas" padded={false}>
          {sagas.data === undefined && sagas.error ? (
            <ProblemCard error={sagas.error} onRetry={() => void sagas.refetch()} what="Sagas could not be read" />
          ) : sagas.data?.items.length === 0 ? (
            <Empty icon="jobs" title="No sagas yet" command={commands.sagaCreate()}>
              Say the steps of an order in a file: what does each, and what undoes it.
            </Empty>
          ) : (
            <Table label="Sagas" columns={columns} rows={sagas.data?.items} idOf={({ id }) => id} hrefOf={({ id }) => `/sagas/${id}`} skeleton={4} />
          )}
        </Panel>
      </div>
    </>
  );
}

export function RunTable({ label, runs, skeleton = 3 }: { label: string; runs: SagaRun[] | undefined; skeleton?: number }) {
  const columns: Column<SagaRun>[] = [
    {
      key: "run",
      label: "Run",
      primary: true,
      card: "title",
      cell: ({ id, key, error }) => (
        <>
          {key ?? <span className="mono">{id}</span>}
          {error && <span className={sub}>{error}</span>}
        </>
      ),
    },
    { key: "state", label: "State", width: "170px", card: "status", cell: ({ state }) => <RunBadge state={state} /> },
    { key: "step", label: "Step", width: "20%", cell: atWork },
    { key: "version", label: "Version", width: "90px", end: true, cell: ({ version }) => version },
    { key: "begun", label: "Begun", width: "120px", end: true, cell: ({ created_at }) => <Ago at={created_at} /> },
  ];
  return <Table label={label} columns={columns} rows={runs} idOf={({ id }) => id} hrefOf={({ id }) => `/saga-runs/${id}`} skeleton={skeleton} />;
}
