import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useLocation } from "wouter";
import { client, unwrap } from "../api/client";
import { asApiError } from "../api/problem";
import { queries, useTenants } from "../api/queries";
import type { Misfire, Overlap, Schedule, SchedulePreview } from "../api/types";
import { Button, Notice, ProblemCard } from "../ui/basics";
import { Dialog } from "../ui/dialog";
import { columnsClass, Field, formClass, Input, Select, TextArea, useSubmit } from "../ui/form";
import { useToast } from "../ui/toast";

const misfires: { value: Misfire; label: string }[] = [
  { value: "one", label: "One run for all of them" },
  { value: "skip", label: "Nothing" },
  { value: "all", label: "A run for each" },
];
const overlaps: { value: Overlap; label: string }[] = [
  { value: "allow", label: "Runs beside it" },
  { value: "skip", label: "Is left out" },
  { value: "wait", label: "Waits for its end" },
];
/** What the choice among endpoints says for the job that does nothing. */
const NOOP = "noop";
/** What it says for jobs that the team's own workers take. */
const WORKERS = "workers";
/** So long nobody has typed before the server is asked. */
const REST_MS = 250;

/** What was typed, once the typing rests. */
function useRested(value: string): string {
  const [rested, setRested] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setRested(value), REST_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return rested;
}

/** The next ticks, and what clock changes make of them. */
export function Ticks({ preview }: { preview: Pick<SchedulePreview, "ticks" | "clock_changes"> }) {
  return (
    <>
      <ol aria-label="Next ticks" style={{ margin: 0, paddingInlineStart: 20 }}>
        {preview.ticks.map(({ at, local, note }) => (
          <li key={at}>
            <span style={{ fontFamily: "var(--mono, monospace)" }}>{local.replace("T", " ")}</span>
            {note && <span className="secondary"> — {note}</span>}
          </li>
        ))}
      </ol>
      {preview.clock_changes.map(({ at, text }) => (
        <p key={at} className="secondary" style={{ margin: "6px 0 0" }}>{text.charAt(0).toUpperCase() + text.slice(1)}.</p>
      ))}
    </>
  );
}

function Preview({ cron, zone }: { cron: string; zone: string }) {
  const typed = { cron: useRested(cron.trim()), zone: useRested(zone.trim()) };
  const preview = useQuery({ ...queries.schedulePreview(typed.cron, typed.zone), enabled: typed.cron !== "" });
  if (typed.cron === "") return null;
  const wrong = preview.error ? asApiError(preview.error).problem : undefined;
  return (
    <div aria-live="polite">
      {preview.error ? (
        <Notice tone="warn" icon="warning">{wrong?.errors?.[0]?.detail ?? wrong?.detail ?? "The server does not answer."}</Notice>
      ) : (
        preview.data && <Ticks preview={preview.data} />
      )}
    </div>
  );
}

/** JSON that was typed; nothing for an empty field. */
function readPayload(text: string): unknown {
  return text.trim() === "" ? null : (JSON.parse(text) as unknown);
}

/** A new schedule, or another rule for one that exists. */
export function ScheduleForm({ schedule, onClose }: { schedule?: Schedule; onClose: () => void }) {
  const queryClient = useQueryClient();
  const tenants = useTenants();
  const endpoints = useQuery(queries.endpoints()).data?.items ?? [];
  const say = useToast();
  const [, navigate] = useLocation();
  const [name, setName] = useState(schedule?.name ?? "");
  const [cron, setCron] = useState(schedule?.cron ?? "0 2 * * *");
  const [zone, setZone] = useState(schedule?.zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone);
  const [chosenTenant, setTenant] = useState("");
  // The only built-in kind that does without an event is the one that does nothing.
  const works = schedule !== undefined && !schedule.endpoint_id && schedule.kind !== NOOP;
  const [target, setTarget] = useState(works ? WORKERS : (schedule?.endpoint_id ?? schedule?.kind ?? ""));
  const [kind, setKind] = useState(works ? schedule.kind : "");
  const [queue, setQueue] = useState(works ? schedule.queue : "");
  const [payload, setPayload] = useState(schedule?.payload == null ? "" : JSON.stringify(schedule.payload, null, 2));
  const [misfire, setMisfire] = useState<Misfire>(schedule?.misfire ?? "one");
  const [overlap, setOverlap] = useState<Overlap>(schedule?.overlap ?? "allow");
  const [jitter, setJitter] = useState(schedule ? String(schedule.jitter_ms / 1000) : "0");
  const [unreadable, setUnreadable] = useState<string | null>(null);

  const tenant = schedule?.tenant_id ?? (chosenTenant || tenants.list[0]?.id);
  const own = endpoints.filter((endpoint) => tenant === undefined || endpoint.tenant_id === tenant);
  const targets = [
    ...own.map(({ id, name: label }) => ({ value: id, label: `Endpoint ${label}` })),
    { value: WORKERS, label: "A job for your workers" },
    { value: NOOP, label: "noop: does nothing, to see it run" },
  ];
  const goes = targets.some(({ value }) => value === target) ? target : targets[0]!.value;

  const form = useSubmit(async () => {
    let told: unknown;
    try {
      told = readPayload(payload);
    } catch {
      setUnreadable("is not JSON");
      return;
    }
    setUnreadable(null);
    const body = {
      name: name.trim(),
      cron: cron.trim(),
      zone: zone.trim() || undefined,
      ...(own.some(({ id }) => id === goes)
        ? { endpoint: goes }
        : goes === WORKERS
          ? { kind: kind.trim(), queue: queue.trim() }
          : { kind: goes }),
      payload: told,
      misfire,
      overlap,
      jitter_ms: Math.round(Number(jitter) * 1000),
    };
    if (schedule) {
      const changed = await unwrap(client.PATCH("/v1/schedules/{id}", { params: { path: { id: schedule.id } }, body }));
      say(`${changed.name} is changed`);
      onClose();
    } else {
      const made = await unwrap(client.POST("/v1/schedules", { body: { ...body, tenant_id: tenant } }));
      say(`${made.name} is there`);
      onClose();
      navigate(`/schedules/${made.id}`);
    }
    void queryClient.invalidateQueries({ queryKey: ["schedules"] });
  });

  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title={schedule ? `Change ${schedule.name}` : "New schedule"}
      text={schedule ? undefined : "A cron rule: each of its ticks makes one job."}
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy || name.trim() === "" || cron.trim() === ""}>
            {form.busy ? "Saving…" : schedule ? "Save" : "Create schedule"}
          </Button>
        </>
      }
    >
      <div className={formClass}>
        <Field label="Name" hint="Lower-case letters, digits, - and _" error={form.errorAt("name")}>
          <Input value={name} onChange={setName} autoComplete="off" placeholder="daily-analytics" autoCapitalize="none" />
        </Field>
        <div className={columnsClass}>
          <Field label="Cron expression" hint="minute hour day month weekday" error={form.errorAt("cron")}>
            <Input value={cron} onChange={setCron} autoComplete="off" style={{ fontFamily: "var(--mono, monospace)" }} />
          </Field>
          <Field label="Time zone" hint="e.g. Europe/Berlin, or UTC" error={form.errorAt("zone")}>
            <Input value={zone} onChange={setZone} autoComplete="off" placeholder="UTC" autoCapitalize="none" />
          </Field>
        </div>
        <Preview cron={cron} zone={zone} />
        {!schedule && tenants.many && (
          <Field label="Tenant" error={form.errorAt("tenant_id")}>
            <Select value={tenant} onChange={setTenant} options={tenants.list.map(({ id, name: label }) => ({ value: id, label }))} />
          </Field>
        )}
        <Field label="What its jobs do" error={form.errorAt("endpoint") ?? (goes === WORKERS ? undefined : form.errorAt("kind"))}>
          <Select value={goes} onChange={setTarget} options={targets} />
        </Field>
        {goes === WORKERS && (
          <div className={columnsClass}>
            <Field label="Kind of the jobs" hint="What your workers know them by" error={form.errorAt("kind")}>
              <Input value={kind} onChange={setKind} autoComplete="off" placeholder="report.render" autoCapitalize="none" />
            </Field>
            <Field label="Queue" hint="Whose jobs your workers ask for" error={form.errorAt("queue")}>
              <Input value={queue} onChange={setQueue} autoComplete="off" placeholder="reports" autoCapitalize="none" />
            </Field>
          </div>
        )}
        <Field label="Payload" hint="JSON that each job is told beside its tick; empty: nothing" error={unreadable ?? form.errorAt("payload")}>
          <TextArea rows={3} value={payload} onChange={setPayload} style={{ fontFamily: "var(--mono, monospace)" }} />
        </Field>
        <div className={columnsClass}>
          <Field label="Missed ticks" error={form.errorAt("misfire")}>
            <Select value={misfire} onChange={(value) => setMisfire(value as Misfire)} options={misfires} />
          </Field>
          <Field label="While the last run goes on" error={form.errorAt("overlap")}>
            <Select value={overlap} onChange={(value) => setOverlap(value as Overlap)} options={overlaps} />
          </Field>
        </div>
        <Field label="Jitter in seconds" hint="Each run is put off by up to this, always the same for a tick" error={form.errorAt("jitter_ms")}>
          <Input inputMode="decimal" value={jitter} onChange={setJitter} />
        </Field>
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}
