// How the stream changes what pages have already loaded. Pure: the stream brings the messages, these say what becomes
// of the cached answers.
import type { Change, ChangeKind, Overview, OverviewPoint, Tick } from "./types";

const emptyPoint = (at: string): OverviewPoint => ({
  at,
  received: 0,
  duplicates: 0,
  refused: 0,
  done: 0,
  failed: 0,
  dead: 0,
});

/**
 * The overview after one more second. The numbers of the moment are replaced; what happened in the second is added to
 * the last point and to the totals. The next full answer corrects what a second's rate cannot say.
 */
export function applyTick(overview: Overview, tick: Tick, windowSecs: number): Overview {
  const at = Date.parse(tick.at);
  // A tick that the loaded answer has already counted, or one from a clock that went back.
  const isNew = at > Date.parse(overview.now);
  const next: Overview = {
    ...overview,
    now: isNew ? tick.at : overview.now,
    backlog: { ...overview.backlog, ...tick.backlog },
    dead_letters: tick.dead_letters,
    oldest_waiting_secs: tick.oldest_waiting_secs ?? null,
  };
  if (!isNew) return next;

  const stepMs = overview.throughput.step_secs * 1000;
  let points = overview.throughput.points;
  const last = points[points.length - 1];
  if (stepMs > 0 && last !== undefined) {
    const grown = points.slice();
    let end = Date.parse(last.at);
    // A gap longer than the window is not filled point by point.
    if (at - end > windowSecs * 1000) return next;
    while (at >= end + stepMs) {
      end += stepMs;
      grown.push(emptyPoint(new Date(end).toISOString()));
    }
    const current = grown[grown.length - 1]!;
    grown[grown.length - 1] = addRates(current, tick);
    const oldest = at - windowSecs * 1000 - stepMs;
    points = grown.filter((point) => Date.parse(point.at) > oldest);
  }
  next.throughput = { ...overview.throughput, points };
  // The success rate stays the server's: a tick does not say how many jobs died.
  next.totals = addRates(overview.totals, tick);
  return next;
}

function addRates<T extends { received: number; done: number; failed: number }>(to: T, { rates }: Tick): T {
  return {
    ...to,
    received: to.received + rates.received,
    done: to.done + rates.done,
    failed: to.failed + rates.failed,
  };
}

/** What happened per second, over the last ticks: one second alone jumps about and says little. */
export function averageRates(ticks: readonly Tick[]): Tick["rates"] {
  const mean = (of: (tick: Tick) => number) => ticks.reduce((sum, tick) => sum + of(tick), 0) / Math.max(1, ticks.length);
  return {
    received: mean(({ rates }) => rates.received),
    done: mean(({ rates }) => rates.done),
    failed: mean(({ rates }) => rates.failed),
  };
}

/** Everything that changed since the page was last told, small however long that was. */
export class Changes {
  private static readonly IDS_MAX = 200;
  private readonly kinds = new Map<ChangeKind, { ids: Set<string>; more: boolean }>();

  add(change: Change): void {
    let seen = this.kinds.get(change.kind);
    if (seen === undefined) {
      seen = { ids: new Set(), more: false };
      this.kinds.set(change.kind, seen);
    }
    seen.more ||= change.more;
    for (const id of change.ids) {
      if (seen.ids.size >= Changes.IDS_MAX) {
        seen.more = true;
        break;
      }
      seen.ids.add(id);
    }
  }

  /** What is there, and empties it. */
  take(): Change[] {
    const taken = Array.from(this.kinds, ([kind, { ids, more }]) => ({ kind, ids: [...ids], more }));
    this.kinds.clear();
    return taken;
  }
}

/**
 * A list that stays still while the world moves on. `head` is the newest page as it is now: rows that are shown change
 * in place, rows that are new are only counted until the reader asks for them, and rows that are no longer there (they
 * changed so that the filter leaves them out) are named, not pulled away from under the pointer.
 */
export function mergeHead<T>(
  shown: readonly T[],
  head: { items: readonly T[]; complete: boolean } | undefined,
  idOf: (row: T) => string,
): { rows: T[]; fresh: number; freshIsAtLeast: boolean; gone: ReadonlySet<string> } {
  if (head === undefined) return { rows: [...shown], fresh: 0, freshIsAtLeast: false, gone: new Set() };
  const now = new Map(head.items.map((row) => [idOf(row), row]));
  const known = new Set(shown.map(idOf));

  // Only rows above the first one that is shown already are new; a row further down was there before.
  let fresh = 0;
  for (const row of head.items) {
    if (known.has(idOf(row))) break;
    fresh += 1;
  }
  const overlaps = fresh < head.items.length;

  // The head tells about rows down to its own last one, and about all of them when there are no more.
  let reach = 0;
  if (head.complete) reach = shown.length;
  else if (overlaps) shown.forEach((row, at) => { if (now.has(idOf(row))) reach = at; });
  const gone = new Set<string>();
  shown.forEach((row, at) => {
    if (at < reach && !now.has(idOf(row))) gone.add(idOf(row));
  });

  return {
    rows: shown.map((row) => now.get(idOf(row)) ?? row),
    fresh,
    freshIsAtLeast: !head.complete && !overlaps && head.items.length > 0,
    gone,
  };
}
