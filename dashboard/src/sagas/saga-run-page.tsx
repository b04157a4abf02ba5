import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite } from "../api/queries";
import type { SagaRunStep, SagaRunWithData } from "../api/types";
import { absolute } from "../lib/format";
import { Ago, Button, ButtonLink, Empty, Facts, Id, notFound, Notice, PageHead, Panel, ProblemCard, Skeleton, TitleSkeleton } from "../ui/basics";
import { Body } from "../ui/body";
import detail from "../ui/detail.module.css";
import { Confirm } from "../ui/dialog";
import { Field, Input } from "../ui/form";
import { type Column, sub, Table } from "../ui/table";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";
import { RunGraph } from "./graph";
import { RunBadge, StepBadge } from "./looks";

const back = { href: "/sagas", label: "Sagas" };

export function SagaRunPage({ id }: { id: string }) {
  const { data: run, error, refetch } = useQuery(queries.sagaRun(id));
  if (run) return <Loaded run={run} />;
  return (
    <>
      <PageHead title={error ? "Run" : <TitleSkeleton width={160} />} back={back} documentTitle="Run" sub={error ? undefined : <Skeleton width={260} />} />
      <Panel label="Run">
        {error ? (
          notFound(error) ? (
            <Empty icon="question" title="There is no such run" actions={<ButtonLink href="/sagas">To the sagas</ButtonLink>} />
          ) : (
            <ProblemCard error={error} onRetry={() => void refetch()} what="The run could not be read" />
          )
        ) : (
          <div style={{ height: 420 }}><Skeleton width="50%" /></div>
        )}
      </Panel>
    </>
  );
}

type Wish = "approve" | "reject" | "cancel";
const titles: Record<Wish, { title: string; action: string; text: string }> = {
  approve: { title: "Approve this step", action: "Approve", text: "The run goes on with its next step." },
  reject: { title: "Reject this step", action: "Reject", text: "What was done is undone, the last step first." },
  cancel: { title: "Cancel this run", action: "Cancel the run", text: "What was done is undone, the last step first. A request that is under way may still take effect." },
};

function Loaded({ run }: { run: SagaRunWithData }) {
  const queryClient = useQueryClient();
  const say = useToast();
  const canWrite = useCanWrite("operator");
  const [doing, setDoing] = useState<Wish | null>(null);
  const [reason, setReason] = useState("");
  const changed = () => queryClient.invalidateQueries({ queryKey: ["saga-runs"] });
  const retry = useMutation({
    mutationFn: () => unwrap(client.POST("/v1/saga-runs/{id}/retry", { params: { path: { id: run.id } } })),
    onSuccess: () => say("What undoes the step runs again"),
    onSettled: changed,
  });
  const open = run.state === "running" || run.state === "waiting";
  const asked = run.state === "waiting" && !run.cancel ? run.steps.find(({ state, verdict }) => state === "running" && !verdict) : undefined;
  const close = () => {
    setDoing(null);
    setReason("");
  };
  const carryOut = async () => {
    const params = { params: { path: { id: run.id } } };
    const why = reason || undefined;
    if (doing === "cancel") {
      await unwrap(client.POST("/v1/saga-runs/{id}/cancel", { ...params, body: { reason: why } }));
    } else if (asked) {
      await unwrap(client.POST("/v1/saga-runs/{id}/decide", { ...params, body: { step: asked.name, approved: doing === "approve", reason: why } }));
    }
    void changed();
  };
  return (
    <>
      <PageHead
        back={{ href: `/sagas/${run.saga_id}`, label: run.saga_name }}
        documentTitle={run.key ?? run.saga_name}
        title={<span className={ui.actions}>{run.key ?? run.saga_name} <RunBadge state={run.state} /></span>}
        sub={<>of {run.saga_name}, version {run.version}, begun <Ago at={run.created_at} /> by {run.by}</>}
        actions={
          canWrite && (
            <>
              {asked && <Button icon="check" variant="primary" onClick={() => setDoing("approve")}>Approve…</Button>}
              {asked && <Button icon="cross" onClick={() => setDoing("reject")}>Reject…</Button>}
              {run.state === "failed" && <Button icon="retry" variant="primary" disabled={retry.isPending} onClick={() => retry.mutate()}>Run again</Button>}
              {open && !run.cancel && <Button icon="cross" variant="danger" onClick={() => setDoing("cancel")}>Cancel…</Button>}
            </>
          )
        }
      />
      <div className={detail.stack}>
        {retry.error && <ProblemCard error={retry.error} />}
        {run.error && <Notice tone={run.state === "failed" ? "bad" : "warn"} icon="warning">{run.error}</Notice>}
        {asked && <Notice tone="warn" icon="user">The step {asked.name} waits for a person.</Notice>}
        <Panel title="Steps">
          <RunGraph shape={run.shape} steps={run.steps} />
        </Panel>
        <StepTable steps={run.steps} />
        <div className={detail.columns}>
          <Panel title="Facts">
            <Facts
              items={[
                ["Id", <Id key="id" value={run.id} full />],
                ["Saga", <ButtonLink key="saga" small href={`/sagas/${run.saga_id}`}>{run.saga_name}</ButtonLink>],
                ["Key", run.key ?? "none"],
                ["Begun", absolute(run.created_at)],
                ["Ended", run.finished_at ? absolute(run.finished_at) : "not yet"],
              ]}
            />
          </Panel>
          <div className={detail.stack}>
            <Panel title="Input"><Body headless label="Input" json={run.input ?? null} /></Panel>
            <Panel title="What came of its steps"><Body headless label="Outputs" json={run.outputs} /></Panel>
          </div>
        </div>
      </div>
      {doing && (
        <Confirm open onClose={close} title={titles[doing].title} action={titles[doing].action} run={carryOut}>
          <p>{titles[doing].text}</p>
          <div style={{ marginTop: 16 }}>
            <Field label="Reason (kept with the run)">
              <Input value={reason} onChange={setReason} maxLength={500} />
            </Field>
          </div>
        </Confirm>
      )}
    </>
  );
}

/** The steps with their jobs and errors. */
export function StepTable({ steps }: { steps: SagaRunStep[] }) {
  const job = (id: string | null | undefined) => (id ? <Id value={id} href={`/jobs/${id}`} copy={false} /> : "—");
  const columns: Column<SagaRunStep>[] = [
    {
      key: "name",
      label: "Step",
      primary: true,
      card: "title",
      cell: ({ name, error, verdict }) => (
        <>
          {name}
          {verdict && <span className={sub}>{verdict.approved ? "approved" : "rejected"} by {verdict.by}{verdict.reason && `: ${verdict.reason}`}</span>}
          {error && <span className={sub}>{error}</span>}
        </>
      ),
    },
    { key: "state", label: "State", width: "150px", card: "status", cell: ({ state }) => <StepBadge state={state} /> },
    { key: "job", label: "Its job", width: "130px", cell: ({ job_id }) => job(job_id) },
    { key: "lookup", label: "Look-up", width: "130px", cell: ({ lookup_job_id }) => job(lookup_job_id) },
    { key: "undo", label: "Undone by", width: "130px", cell: ({ compensation_job_id }) => job(compensation_job_id) },
    { key: "ended", label: "Ended", width: "110px", end: true, cell: ({ finished_at }) => <Ago at={finished_at} never="—" /> },
  ];
  return (
    <Panel label="Steps and jobs" padded={false}>
      <Table label="Steps and jobs" columns={columns} rows={steps} idOf={({ name }) => name} />
    </Panel>
  );
}
