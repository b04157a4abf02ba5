// States in the words of the API, each with an icon, a word and a tone: never a colour alone.
import type { ReactNode } from "react";
import type { Breaker, EventStatus, JobState, Outcome, QueueFlow, Receipt, ReplayState, TickOutcome } from "../api/types";
import { count, exact, words } from "../lib/format";
import { Icon, type IconName } from "./icon";
import css from "./ui.module.css";

export type Tone = "ok" | "warn" | "bad" | "run" | "idle";
export interface Look {
  tone: Tone;
  icon: IconName;
  label: string;
}

export const eventLooks: Record<EventStatus, Look> = {
  pending: { tone: "idle", icon: "clock", label: "Pending" },
  processing: { tone: "run", icon: "play", label: "Processing" },
  success: { tone: "ok", icon: "check", label: "Success" },
  error: { tone: "bad", icon: "cross", label: "Error" },
  unhandled: { tone: "idle", icon: "minus", label: "Unhandled" },
};

export const jobLooks: Record<JobState, Look> = {
  waiting: { tone: "idle", icon: "clock", label: "Waiting" },
  scheduled: { tone: "idle", icon: "calendar", label: "Scheduled" },
  running: { tone: "run", icon: "play", label: "Running" },
  retrying: { tone: "warn", icon: "retry", label: "Retrying" },
  done: { tone: "ok", icon: "check", label: "Done" },
  dead: { tone: "bad", icon: "dead", label: "Dead letter" },
  cancelled: { tone: "idle", icon: "minus", label: "Cancelled" },
};

export const outcomeLooks: Record<Outcome, Look> = {
  succeeded: { tone: "ok", icon: "check", label: "Succeeded" },
  failed: { tone: "warn", icon: "cross", label: "Failed" },
  dead: { tone: "bad", icon: "dead", label: "Failed for good" },
  lost: { tone: "warn", icon: "question", label: "Lost" },
  unknown: { tone: "warn", icon: "question", label: "Unknown" },
  cancelled: { tone: "idle", icon: "minus", label: "Cancelled" },
  requeued: { tone: "run", icon: "retry", label: "Run again" },
  discarded: { tone: "idle", icon: "trash", label: "Discarded" },
  running: { tone: "run", icon: "play", label: "Running" },
};

export const replayLooks: Record<ReplayState, Look> = {
  running: { tone: "run", icon: "play", label: "Running" },
  paused: { tone: "idle", icon: "pause", label: "Paused" },
  finishing: { tone: "run", icon: "clock", label: "Finishing" },
  done: { tone: "ok", icon: "check", label: "Done" },
  stopped: { tone: "warn", icon: "minus", label: "Stopped" },
};

export const tickLooks: Record<TickOutcome, Look> = {
  run: { tone: "ok", icon: "check", label: "Ran" },
  by_hand: { tone: "ok", icon: "user", label: "Run by hand" },
  overlapped: { tone: "warn", icon: "minus", label: "Left out" },
  missed: { tone: "warn", icon: "question", label: "Missed" },
};

export const flowLooks: Record<QueueFlow, Look> = {
  running: { tone: "ok", icon: "play", label: "Running" },
  paused: { tone: "idle", icon: "pause", label: "Paused" },
  draining: { tone: "warn", icon: "clock", label: "Draining" },
};

export const verdictLooks: Record<Receipt["verdict"], Look> = {
  accepted: { tone: "ok", icon: "check", label: "Accepted" },
  duplicate: { tone: "idle", icon: "copy", label: "Duplicate" },
  conflict: { tone: "warn", icon: "warning", label: "Conflict" },
  refused: { tone: "warn", icon: "cross", label: "Refused" },
};

export const breakerLooks: Record<Breaker["state"], Look> = {
  closed: { tone: "ok", icon: "check", label: "Healthy" },
  half_open: { tone: "warn", icon: "half", label: "Probing" },
  open: { tone: "bad", icon: "broken", label: "Cut off" },
};

const unknownLook = (value: string): Look => ({ tone: "idle", icon: "question", label: words(value) });

export function Badge({ look, children, title }: { look: Look; children?: ReactNode; title?: string }) {
  return (
    <span className={css.badge} data-tone={look.tone} title={title}>
      <Icon name={look.icon} size={13} />
      {children ?? look.label}
    </span>
  );
}

export const EventStatusBadge = ({ status }: { status: EventStatus }) => (
  <Badge look={eventLooks[status] ?? unknownLook(status)} />
);
export const JobStateBadge = ({ state }: { state: JobState }) => <Badge look={jobLooks[state] ?? unknownLook(state)} />;
export const ReplayBadge = ({ state }: { state: ReplayState }) => <Badge look={replayLooks[state] ?? unknownLook(state)} />;
/** What became of a tick; of several that were missed together, how many they are. */
export const TickBadge = ({ outcome, ticks, since }: { outcome: TickOutcome; ticks: number; since?: string | null }) => (
  <Badge look={tickLooks[outcome] ?? unknownLook(outcome)} title={since ? `since ${exact(since)}` : undefined}>
    {ticks > 1 ? `${count(ticks)} missed` : undefined}
  </Badge>
);
export const QueueFlowBadge = ({ flow }: { flow: QueueFlow }) => <Badge look={flowLooks[flow] ?? unknownLook(flow)} />;
export const VerdictBadge = ({ verdict }: { verdict: Receipt["verdict"] }) => <Badge look={verdictLooks[verdict] ?? unknownLook(verdict)} />;
export const OutcomeBadge = ({ outcome }: { outcome: Outcome }) => (
  <Badge look={outcomeLooks[outcome] ?? unknownLook(outcome)} />
);

export function EndpointBadge({ breaker, enabled }: { breaker: Breaker; enabled: boolean }) {
  if (!enabled) return <Badge look={{ tone: "idle", icon: "pause", label: "Disabled" }} />;
  return <Badge look={breakerLooks[breaker.state] ?? unknownLook(breaker.state)} />;
}

export const EnabledBadge = ({ enabled }: { enabled: boolean }) => (
  <Badge look={enabled ? { tone: "ok", icon: "check", label: "Enabled" } : { tone: "idle", icon: "pause", label: "Disabled" }} />
);

/** The kind of failure and its stable code. */
export function Reason({ category, code }: { category?: string | null; code?: string | null }) {
  if (!category && !code) return null;
  return (
    <span className={css.reason}>
      {category && words(category)}
      {code && <span className={css.chip}>{code}</span>}
    </span>
  );
}
