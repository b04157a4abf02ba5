import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import type { ReplayChange, ReplayDryJob, ReplayDryRun } from "../api/types";
import { count, plural } from "../lib/format";
import { differences } from "../lib/json-difference";
import { Button, Notice, ProblemCard } from "../ui/basics";
import { Icon, type IconName } from "../ui/icon";
import css from "./dry-run.module.css";

/** So many jobs are shown, of those that something can be told of, before somebody asks for all. */
const SHOWN = 10;

export type Fate = "added" | "gone" | "changed" | "same";

/** What would become of a row. */
export function fateOf({ before, after }: ReplayChange): Fate {
  if (before == null) return after == null ? "same" : "added";
  if (after == null) return "gone";
  return differences(before, after).length === 0 ? "same" : "changed";
}

const fates: Record<Fate, { icon: IconName; words: string; tally: (rows: number) => string }> = {
  added: { icon: "plus", words: "would be added", tally: (rows) => `${plural(rows, "row")} added` },
  changed: { icon: "retry", words: "would change", tally: (rows) => `${plural(rows, "row")} changed` },
  gone: { icon: "trash", words: "would be gone", tally: (rows) => `${plural(rows, "row")} gone` },
  same: { icon: "check", words: "stays as it is", tally: (rows) => `${plural(rows, "row")} as ${rows === 1 ? "it is" : "they are"}` },
};

/** A dry run in a sentence's worth of words. */
export function tallyOf(jobs: readonly ReplayDryJob[]): string {
  const changes = jobs.flatMap((job) => job.changes ?? []);
  const many = (fate: Fate) => changes.filter((change) => fateOf(change) === fate).length;
  const failing = jobs.filter(({ failure }) => failure).length;
  const untold = jobs.filter(({ changes: told, failure }) => !told && !failure).length;
  const told = [
    ...(["added", "changed", "gone", "same"] as const).filter((fate) => many(fate) > 0).map((fate) => fates[fate].tally(many(fate))),
    ...(failing > 0 ? [`${plural(failing, "job")} would fail`] : []),
  ].join(", ");
  const open = untold > 0 ? `nobody can tell what ${plural(untold, "job")} would do` : "";
  return [told, open].filter(Boolean).join("; ");
}

/** What built-in handlers would change: asked for by a button, since it runs them, though on nothing. */
export function DryRun({ run, disabled }: { run: () => Promise<ReplayDryRun>; disabled: boolean }) {
  const asked = useMutation({ mutationFn: run });
  if (asked.data) return <Effects dry={asked.data} />;
  return (
    <div className={css.ask}>
      <Button icon="search" disabled={disabled || asked.isPending} onClick={() => asked.mutate()}>
        {asked.isPending ? "Trying…" : "Show what would change"}
      </Button>
      <span className="muted">What built-in handlers would do with the first 100 events. Nothing is made.</span>
      {asked.error && <ProblemCard error={asked.error} onRetry={() => asked.mutate()} what="It could not be tried" />}
    </div>
  );
}

function Effects({ dry }: { dry: ReplayDryRun }) {
  const [all, setAll] = useState(false);
  const told = dry.jobs.filter(({ changes, failure }) => changes || failure);
  const shown = all ? dry.jobs : told.slice(0, SHOWN);
  return (
    <section aria-label="What would change" className={css.effects}>
      <Notice icon="search">
        Tried on {dry.more ? `the first ${plural(dry.events, "event")}` : plural(dry.events, "event")}, nothing was made: {tallyOf(dry.jobs) || "no job would be made"}.
      </Notice>
      {shown.length > 0 && (
        <ul className={css.jobs}>
          {shown.map((job, at) => (
            <li key={at}>
              <p className={css.job}>
                <Link href={`/events/${job.event_id}`}>{job.type}</Link> → {job.name} <span className="muted">{job.kind}</span>
              </p>
              <JobEffects job={job} />
            </li>
          ))}
        </ul>
      )}
      {shown.length < dry.jobs.length && <Button small onClick={() => setAll(true)}>Show all {count(dry.jobs.length)} jobs</Button>}
    </section>
  );
}

function JobEffects({ job: { changes, failure } }: { job: ReplayDryJob }) {
  if (failure) {
    return <p className={css.fate} data-fate="gone"><Icon name="warning" size={14} /><span>would fail, <code>{failure.code}</code>: {failure.error}</span></p>;
  }
  if (!changes) return <p className={css.fate}><Icon name="question" size={14} /><span>nobody can tell what it does</span></p>;
  if (changes.length === 0) return <p className={css.fate}><Icon name="check" size={14} /><span>touches nothing</span></p>;
  return changes.map((change, at) => <Change key={at} change={change} />);
}

function Change({ change }: { change: ReplayChange }) {
  const fate = fateOf(change);
  const { icon, words } = fates[fate];
  return (
    <>
      <p className={css.fate} data-fate={fate}><Icon name={icon} size={14} /><span>{change.what} {words}</span></p>
      {fate !== "same" && (
        <pre className={css.diff} tabIndex={0} role="group" aria-label={`${change.what}, place by place`}>
          {lines(change).map(({ sign, text }, at) => (
            <span key={at} data-sign={sign}>{sign} {text}{"\n"}</span>
          ))}
        </pre>
      )}
    </>
  );
}

/** A row that comes or goes is told field by field as well. */
function lines({ before, after }: ReplayChange): { sign: "+" | "−"; text: string }[] {
  const rows = differences(before ?? {}, after ?? {});
  return rows.flatMap(({ pointer, before: was, after: is }) => [
    ...(was === undefined ? [] : [{ sign: "−" as const, text: `${pointer.slice(1)}: ${JSON.stringify(was)}` }]),
    ...(is === undefined ? [] : [{ sign: "+" as const, text: `${pointer.slice(1)}: ${JSON.stringify(is)}` }]),
  ]);
}
