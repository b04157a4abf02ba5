import { useQuery } from "@tanstack/react-query";
import { queries, useTenants } from "../api/queries";
import type { SagaAction, SagaStep, SagaVersion, SagaWithVersions } from "../api/types";
import { absolute, count, setting } from "../lib/format";
import { Ago, ButtonLink, Empty, Facts, Id, notFound, PageHead, Panel, ProblemCard, Skeleton, TitleSkeleton } from "../ui/basics";
import { Body } from "../ui/body";
import detail from "../ui/detail.module.css";
import { type Column, sub, Table } from "../ui/table";
import { runLooks } from "./looks";
import { RunTable } from "./sagas-page";

const back = { href: "/sagas", label: "Sagas" };

export function SagaPage({ id }: { id: string }) {
  const { data: saga, error, refetch } = useQuery(queries.saga(id));
  if (saga) return <Loaded saga={saga} />;
  return (
    <>
      <PageHead title={error ? "Saga" : <TitleSkeleton width={160} />} back={back} documentTitle="Saga" sub={error ? undefined : <Skeleton width={220} />} />
      <Panel label="Saga">
        {error ? (
          notFound(error) ? (
            <Empty icon="question" title="There is no such saga" actions={<ButtonLink href="/sagas">To the sagas</ButtonLink>} />
          ) : (
            <ProblemCard error={error} onRetry={() => void refetch()} what="The saga could not be read" />
          )
        ) : (
          <div style={{ height: 360 }}><Skeleton width="50%" /></div>
        )}
      </Panel>
    </>
  );
}

/** Where the job of a step goes. */
export const target = ({ endpoint_id, endpoint_name, kind, queue }: SagaAction): string =>
  endpoint_id ? `endpoint ${endpoint_name ?? `${endpoint_id}, which is gone`}` : `${kind} in ${queue}`;

function Loaded({ saga }: { saga: SagaWithVersions }) {
  const runs = useQuery(queries.sagaRuns({ saga: saga.id }));
  const tenants = useTenants();
  const newest = saga.versions[0];
  const open = saga.open_runs.map(({ state, count: runs }) => `${count(runs)} ${runLooks[state].label.toLowerCase()}`);
  return (
    <>
      <PageHead
        back={back}
        title={saga.name}
        sub={<>version {saga.version}{tenants.many && <>, of {tenants.nameOf(saga.tenant_id)}</>}{open.length > 0 && <>: {open.join(", ")}</>}</>}
      />
      <div className={detail.stack}>
        {newest && <Steps version={newest} />}
        <Panel title="Latest runs" padded={false}>
          {runs.data === undefined && runs.error ? (
            <ProblemCard error={runs.error} onRetry={() => void runs.refetch()} what="Runs could not be read" />
          ) : runs.data?.items.length === 0 ? (
            <Empty icon="clock" title="It has not run yet" command={`mainstay saga start ${saga.name} --input '{}'`} />
          ) : (
            <RunTable label="Runs" runs={runs.data?.items} skeleton={5} />
          )}
        </Panel>
        <div className={detail.columns}>
          <Panel title="Facts">
            <Facts
              items={[
                ["Id", <Id key="id" value={saga.id} full />],
                ["Added", absolute(saga.created_at)],
                ["Newest version", absolute(saga.updated_at)],
              ]}
            />
          </Panel>
          <Versions versions={saga.versions} />
        </div>
      </div>
    </>
  );
}

function Steps({ version }: { version: SagaVersion }) {
  const part = (action: SagaAction | null | undefined) => (action ? target(action) : "—");
  const columns: Column<SagaStep>[] = [
    {
      key: "name",
      label: "Step",
      primary: true,
      card: "title",
      cell: ({ name, timeout_secs }) => (
        <>
          {name}
          {timeout_secs != null && <span className={sub}>within {setting(timeout_secs * 1000)}</span>}
        </>
      ),
    },
    { key: "does", label: "Done by", width: "26%", cell: ({ action }) => (action ? target(action) : "a person, who approves") },
    { key: "undo", label: "Undone by", width: "26%", cell: ({ compensation }) => part(compensation) },
    { key: "lookup", label: "Looked up by", width: "22%", cell: ({ lookup }) => part(lookup) },
  ];
  return (
    <Panel title={`Steps of version ${version.version}`} padded={false}>
      <Table label="Steps" columns={columns} rows={version.steps} idOf={({ name }) => name} />
    </Panel>
  );
}

function Versions({ versions }: { versions: SagaVersion[] }) {
  const columns: Column<SagaVersion>[] = [
    { key: "version", label: "Version", width: "110px", primary: true, card: "title", cell: ({ version }) => `Version ${version}` },
    { key: "by", label: "By", cell: ({ by }) => by },
    { key: "at", label: "Since", width: "120px", end: true, cell: ({ created_at }) => <Ago at={created_at} /> },
  ];
  return (
    <div className={detail.stack}>
      <Panel title="Versions" padded={false}>
        <Table label="Versions" columns={columns} rows={versions} idOf={({ version }) => String(version)} />
      </Panel>
      {versions[0] && (
        <Panel title="Definition">
          <Body headless label="Definition" json={versions[0].steps} />
        </Panel>
      )}
    </div>
  );
}
