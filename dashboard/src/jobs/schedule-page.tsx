import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite, useTenants } from "../api/queries";
import type { ScheduleRun, ScheduleWithRuns } from "../api/types";
import { absolute, count, setting } from "../lib/format";
import { Ago, Button, ButtonLink, Empty, Facts, Id, notFound, Notice, PageHead, Panel, ProblemCard, Skeleton, TitleSkeleton } from "../ui/basics";
import { Body } from "../ui/body";
import detail from "../ui/detail.module.css";
import { Confirm } from "../ui/dialog";
import { JobStateBadge, TickBadge } from "../ui/status";
import { type Column, Table } from "../ui/table";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";
import { ScheduleForm, Ticks } from "./schedule-form";
import { Next, NextRun, target } from "./schedules-page";

const back = { href: "/schedules", label: "Schedules" };

export function SchedulePage({ id }: { id: string }) {
  const { data: schedule, error, refetch } = useQuery(queries.schedule(id));
  if (schedule) return <Loaded schedule={schedule} />;
  return (
    <>
      <PageHead title={error ? "Schedule" : <TitleSkeleton width={160} />} back={back} documentTitle="Schedule" sub={error ? undefined : <Skeleton width={260} />} />
      <Panel label="Schedule">
        {error ? (
          notFound(error) ? (
            <Empty icon="question" title="There is no such schedule" actions={<ButtonLink href="/schedules">To the schedules</ButtonLink>} />
          ) : (
            <ProblemCard error={error} onRetry={() => void refetch()} what="The schedule could not be read" />
          )
        ) : (
          <div style={{ height: 480 }}><Skeleton width="50%" /></div>
        )}
      </Panel>
    </>
  );
}

type Wish = "pause" | "resume" | "run";

function Loaded({ schedule }: { schedule: ScheduleWithRuns }) {
  const queryClient = useQueryClient();
  const [, navigate] = useLocation();
  const say = useToast();
  const canWrite = useCanWrite("admin");
  const canWish = useCanWrite("operator");
  const tenants = useTenants();
  const [doing, setDoing] = useState<"edit" | "delete" | null>(null);
  const wish = useMutation({
    mutationFn: async (what: Wish) => {
      const params = { params: { path: { id: schedule.id } } };
      switch (what) {
        case "pause":
          await unwrap(client.POST("/v1/schedules/{id}/pause", params));
          break;
        case "resume":
          await unwrap(client.POST("/v1/schedules/{id}/resume", params));
          break;
        case "run":
          await unwrap(client.POST("/v1/schedules/{id}/run", params));
          say(`A job of ${schedule.name} was made`);
      }
    },
    onSettled: () => queryClient.invalidateQueries({ queryKey: ["schedules"] }),
  });
  return (
    <>
      <PageHead
        back={back}
        documentTitle={schedule.name}
        title={<span className={ui.actions}>{schedule.name} {(schedule.paused || schedule.problem) && <NextRun schedule={schedule} />}</span>}
        sub={<><code>{schedule.cron}</code> in {schedule.zone}{schedule.next_run_at && <>, next <Next at={schedule.next_run_at} /></>}{tenants.many && <>, for {tenants.nameOf(schedule.tenant_id)}</>}</>}
        actions={
          <>
            {canWish && <Button icon="play" disabled={wish.isPending} onClick={() => wish.mutate("run")}>Run now</Button>}
            {canWish &&
              (schedule.paused ? (
                <Button icon="play" variant="primary" disabled={wish.isPending} onClick={() => wish.mutate("resume")}>Resume</Button>
              ) : (
                <Button icon="pause" disabled={wish.isPending} onClick={() => wish.mutate("pause")}>Pause</Button>
              ))}
            {canWrite && <Button icon="settings" onClick={() => setDoing("edit")}>Change…</Button>}
          </>
        }
      />
      <div className={detail.stack}>
        {wish.error && <ProblemCard error={wish.error} />}
        {schedule.problem && <Notice tone="bad" icon="warning">This schedule makes no jobs: its expression or zone {schedule.problem}.</Notice>}
        <Runs runs={schedule.runs} />
        <div className={detail.columns}>
          <div className={detail.stack}>
            <Panel title="Next ticks">
              {schedule.next_ticks.length === 0 ? (
                <Empty icon="calendar" title="There is none" />
              ) : (
                <Ticks preview={{ ticks: schedule.next_ticks, clock_changes: schedule.clock_changes }} />
              )}
            </Panel>
          </div>
          <div className={detail.stack}>
            <Panel title="Settings">
              <Facts
                items={[
                  ["Id", <Id key="id" value={schedule.id} full />],
                  ["Job", schedule.endpoint_id ? <ButtonLink key="job" small href={`/endpoints/${schedule.endpoint_id}`}>{target(schedule)}</ButtonLink> : target(schedule)],
                  ["Missed ticks", { skip: "nothing", one: "one run for all of them", all: `a run for each, ${count(schedule.catch_up_max)} at the most` }[schedule.misfire]],
                  ["Missed after", setting(schedule.grace_ms)],
                  ["While the last run goes on", { allow: "it runs beside it", skip: "it is left out", wait: "it waits" }[schedule.overlap]],
                  ["Jitter", schedule.jitter_ms === 0 ? "none" : `up to ${setting(schedule.jitter_ms)}`],
                  ["Created", absolute(schedule.created_at)],
                  ["Changed", absolute(schedule.updated_at)],
                ]}
              />
            </Panel>
            {schedule.payload != null && (
              <Panel title="Payload">
                <Body headless label="Payload" json={schedule.payload} />
              </Panel>
            )}
            {canWrite && (
              <Panel title="Deletion">
                <div className={detail.danger}>
                  <span>No more jobs are made. Those that there are go on.</span>
                  <Button variant="danger" icon="trash" onClick={() => setDoing("delete")}>Delete schedule…</Button>
                </div>
              </Panel>
            )}
          </div>
        </div>
      </div>
      {doing === "edit" && <ScheduleForm schedule={schedule} onClose={() => setDoing(null)} />}
      <Confirm
        open={doing === "delete"}
        onClose={() => setDoing(null)}
        title={`Delete the schedule ${schedule.name}`}
        action="Delete schedule"
        run={async () => {
          await unwrap(client.DELETE("/v1/schedules/{id}", { params: { path: { id: schedule.id } } }));
          void queryClient.invalidateQueries({ queryKey: ["schedules"] });
          say(`${schedule.name} is deleted`);
          navigate("/schedules");
        }}
      >
        What is known of its runs goes with it. This cannot be undone.
      </Confirm>
    </>
  );
}

/** What became of the latest ticks. */
export function Runs({ runs }: { runs: ScheduleRun[] }) {
  const columns: Column<ScheduleRun>[] = [
    {
      key: "tick",
      label: "Tick",
      primary: true,
      card: "title",
      cell: ({ tick, local }) => <span className="mono">{(local ?? tick).replace("T", " ")}</span>,
    },
    { key: "outcome", label: "Outcome", width: "140px", card: "status", cell: ({ outcome, count: ticks, since }) => <TickBadge outcome={outcome} ticks={ticks} since={since} /> },
    { key: "job", label: "Job", width: "150px", cell: ({ job_id, job_state }) => (job_id && job_state ? <Id value={job_id} href={`/jobs/${job_id}`} copy={false} /> : "—") },
    { key: "state", label: "Its state", width: "140px", cell: ({ job_id, job_state }) => (job_state ? <JobStateBadge state={job_state} /> : job_id ? "gone" : "—") },
    { key: "decided", label: "Decided", width: "110px", end: true, cell: ({ decided_at }) => <Ago at={decided_at} /> },
  ];
  return (
    <Panel title="Latest runs" padded={false}>
      {runs.length === 0 ? (
        <Empty icon="clock" title="It has not run yet" />
      ) : (
        <Table label="Runs" columns={columns} rows={runs} idOf={({ tick }) => tick} skeleton={3} />
      )}
    </Panel>
  );
}
