// One event as a story: the request that brought it, its verification, what the provider sent again, every job with
// its attempts, every replay. Pure, so that the order can be tested.
import type { EventDetail, EventReceipt, JobWithAttempts } from "../api/types";

export type TimelineEntry =
  | { kind: "request"; at: string; receipt: EventReceipt | null }
  | { kind: "verified"; at: string; receipt: EventReceipt }
  /** Deliveries of the same event that came one after the other, with nothing else in between. */
  | { kind: "again"; at: string; last: string; verdict: "duplicate" | "conflict"; receipts: EventReceipt[] }
  | { kind: "replay"; at: string; replay: EventDetail["replays"][number] }
  | { kind: "job"; at: string; job: JobWithAttempts }
  | { kind: "unhandled"; at: string };

/** What happens at the same instant happens in this order. */
const order: Record<TimelineEntry["kind"], number> = {
  request: 0,
  verified: 1,
  unhandled: 2,
  again: 3,
  replay: 4,
  job: 5,
};

export function timelineOf(event: EventDetail): TimelineEntry[] {
  const receipts = [...event.receipts].sort((a, b) => Date.parse(a.received_at) - Date.parse(b.received_at));
  const first = receipts.find(({ verdict }) => verdict === "accepted") ?? null;
  const entries: TimelineEntry[] = [{ kind: "request", at: first?.received_at ?? event.received_at, receipt: first }];
  if (first) entries.push({ kind: "verified", at: first.received_at, receipt: first });
  if (event.jobs_list.length === 0) entries.push({ kind: "unhandled", at: event.received_at });

  for (const receipt of receipts) {
    if (receipt === first) continue;
    const verdict = receipt.verdict === "conflict" ? "conflict" : "duplicate";
    entries.push({ kind: "again", at: receipt.received_at, last: receipt.received_at, verdict, receipts: [receipt] });
  }
  for (const replay of event.replays) entries.push({ kind: "replay", at: replay.created_at, replay });
  for (const job of event.jobs_list) entries.push({ kind: "job", at: job.created_at, job });

  const [story, rest] = [entries.filter(isBeginning), entries.filter((entry) => !isBeginning(entry))];
  rest.sort((a, b) => Date.parse(a.at) - Date.parse(b.at) || order[a.kind] - order[b.kind]);
  return joinRepeats([...story, ...rest]);
}

/** The story begins with the request, even where the clocks of two nodes disagree. */
const isBeginning = ({ kind }: TimelineEntry): boolean => kind === "request" || kind === "verified";

function joinRepeats(entries: TimelineEntry[]): TimelineEntry[] {
  const joined: TimelineEntry[] = [];
  for (const entry of entries) {
    const before = joined[joined.length - 1];
    if (entry.kind === "again" && before?.kind === "again" && before.verdict === entry.verdict) {
      joined[joined.length - 1] = { ...before, last: entry.at, receipts: [...before.receipts, ...entry.receipts] };
    } else {
      joined.push(entry);
    }
  }
  return joined;
}
