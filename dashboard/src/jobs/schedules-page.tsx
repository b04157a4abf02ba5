import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries, useCanWrite, useTenants } from "../api/queries";
import type { Schedule } from "../api/types";
import { commands } from "../lib/commands";
import { useNow } from "../lib/now";
import { Ago, Button, Empty, PageHead, Panel, ProblemCard } from "../ui/basics";
import { Badge, JobStateBadge } from "../ui/status";
import { type Column, sub, Table } from "../ui/table";
import { ScheduleForm } from "./schedule-form";

/** What its jobs do, in a word. */
export const target = ({ endpoint_name, kind }: Schedule): string => (endpoint_name ? `endpoint ${endpoint_name}` : kind);

/** Whether it makes jobs by itself, and when the next. */
export function NextRun({ schedule }: { schedule: Schedule }) {
  if (schedule.problem) return <Badge look={{ tone: "bad", icon: "warning", label: "Unusable" }} title={schedule.problem} />;
  if (schedule.paused) return <Badge look={{ tone: "idle", icon: "pause", label: "Paused" }} />;
  return <Next at={schedule.next_run_at} />;
}

/** When the next run is: what is due is made now, and the page hears of it a moment later. */
export function Next({ at }: { at: string | null | undefined }) {
  const due = at != null && Date.parse(at) <= useNow();
  return due ? <>now</> : <Ago at={at} never="never again" />;
}

export function SchedulesPage() {
  const schedules = useQuery(queries.schedules());
  const tenants = useTenants();
  const canWrite = useCanWrite("admin");
  const [creating, setCreating] = useState(false);
  const columns: Column<Schedule>[] = [
    {
      key: "name",
      label: "Name",
      primary: true,
      card: "title",
      cell: (schedule) => (
        <>
          {schedule.name}
          <span className={sub}>{target(schedule)}</span>
        </>
      ),
    },
    {
      key: "cron",
      label: "When",
      width: "24%",
      cell: ({ cron, zone }) => (
        <>
          <span className="mono" title={cron}>{cron}</span>
          <span className={sub}>{zone}</span>
        </>
      ),
    },
    ...(tenants.many ? [{ key: "tenant", label: "Tenant", width: "12%", cell: (schedule: Schedule) => tenants.nameOf(schedule.tenant_id) }] : []),
    { key: "next", label: "Next run", width: "120px", card: "status", cell: (schedule) => <NextRun schedule={schedule} /> },
    { key: "last", label: "Last run", width: "110px", end: true, cell: ({ last_run }) => <Ago at={last_run?.tick} /> },
    {
      key: "state",
      label: "Its job",
      width: "132px",
      cell: ({ last_run }) => (last_run?.job_state ? <JobStateBadge state={last_run.job_state} /> : "—"),
    },
  ];
  return (
    <>
      <PageHead
        title="Schedules"
        sub="Cron rules that make jobs: one for each tick, whatever crashes."
        actions={canWrite && <Button icon="plus" variant="primary" onClick={() => setCreating(true)}>New schedule</Button>}
      />
      <Panel label="Schedules" padded={false}>
        {schedules.data === undefined && schedules.error ? (
          <ProblemCard error={schedules.error} onRetry={() => void schedules.refetch()} what="Schedules could not be read" />
        ) : schedules.data?.items.length === 0 ? (
          <Empty
            icon="calendar"
            title="No schedules yet"
            command={commands.scheduleCreate()}
            actions={canWrite && <Button icon="plus" variant="primary" onClick={() => setCreating(true)}>New schedule</Button>}
          >
            Say when, and which endpoint is told: a report every night, a clean-up every hour.
          </Empty>
        ) : (
          <Table label="Schedules" columns={columns} rows={schedules.data?.items} idOf={({ id }) => id} hrefOf={({ id }) => `/schedules/${id}`} skeleton={5} />
        )}
      </Panel>
      {creating && <ScheduleForm onClose={() => setCreating(false)} />}
    </>
  );
}
