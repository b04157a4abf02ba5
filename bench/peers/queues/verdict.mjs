// What the measurements say: pure, so that it can be tested.

/** What Mainstay's drain has to reach of the fastest other queue's. */
export const RATIO_BAR = 2;
/** The most bytes of PostgreSQL's log for a job over its whole life, with a payload of a hundred bytes. */
export const LOG_BAR = 700;
/** How many dead rows jobs that succeed leave in the tables where they stand. */
export const DEAD_BAR = 0;

/** The middle one; of an even number the lower of the two in the middle. */
export function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
}

/** One result for all rounds of a queue in so many processes. */
export function together(rounds) {
  const middle = (of) => median(rounds.map(of));
  const [first] = rounds;
  const [enqueued, drained] = [middle((one) => one.jobs / one.enqueueSecs), middle((one) => one.done / one.drainSecs)];
  return {
    ...first,
    enqueued,
    drained,
    // Both, one after the other.
    series: middle((one) => one.jobs / (one.enqueueSecs + (one.drainSecs * one.jobs) / one.done)),
    rounds: rounds.map((one) => one.done / one.drainSecs),
    whole: rounds.every((one) => one.done === one.jobs),
    enqueueLog: middle((one) => one.enqueueLog / one.jobs),
    drainLog: middle((one) => one.drainLog / one.jobs),
    log: middle((one) => (one.enqueueLog + one.drainLog) / one.jobs),
    rewritten: middle((one) => one.rewritten / one.jobs),
    dead: Math.max(...rounds.map((one) => one.dead)),
    peakMib: Math.max(...rounds.map((one) => one.peakMib)),
  };
}

const fastest = (results) => results.reduce((best, one) => (best && best.drained >= one.drained ? best : one), undefined);

const round = (value) => (Number.isFinite(value) ? Math.round(value * 1_000) / 1_000 : null);

/** A line with the fields that every bench has. */
function line(bench, database, value, unit, rest) {
  const { reference = null, bar = null, holds = null, peakMib = null } = rest;
  return {
    bench, database, value: round(value), unit, reference: reference && round(reference),
    ratio: reference && round(value / reference), p50_ms: null, p99_ms: null, peak_rss_mib: peakMib && round(peakMib), bar, holds,
  };
}

/**
 * The lines of all that was measured, and of the bars. `complete`: whether every queue was measured; without that, or without
 * Mainstay, a bar neither holds nor fails.
 */
export function lines(results, complete) {
  const ours = fastest(results.filter((one) => one.bar));
  const others = results.filter((one) => !one.ours);
  const best = fastest(others);
  const each = results.map((one) => ({
    ...line("peers", one.database, one.drained, "jobs/s", { reference: ours?.drained, peakMib: one.peakMib }),
    queue: one.name, version: one.version, processes: one.processes, enqueued: round(one.enqueued), series: round(one.series),
    whole: one.whole,
    log_bytes_enqueue: round(one.enqueueLog), log_bytes_drain: round(one.drainLog), rewritten: round(one.rewritten),
  }));
  if (!ours) return each;
  const judged = (holds) => (complete ? holds : null);
  const own = results.filter((one) => one.bar);
  const log = Math.max(...own.map((one) => one.log));
  const dead = Math.max(...own.map((one) => one.dead));
  const bars = [
    line("peers-log", "postgres", log, "bytes/job", { bar: LOG_BAR, holds: log <= LOG_BAR }),
    line("peers-dead-rows", "postgres", dead, "rows", { bar: DEAD_BAR, holds: dead <= DEAD_BAR }),
  ];
  if (best) {
    const reached = ours.whole && ours.drained >= RATIO_BAR * best.drained;
    const bar = { reference: best.drained, bar: RATIO_BAR, holds: judged(reached), peakMib: ours.peakMib };
    bars.push(line("peers-drain", "postgres", ours.drained, "jobs/s", bar));
  }
  return [...each, ...bars];
}

/** For people. */
export function table(results) {
  const whole = (value) => (Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "");
  const few = (value) => (Number.isFinite(value) ? value.toFixed(value < 0.1 ? 4 : 1) : "");
  const head = ["queue", "version", "processes", "enqueued/s", "drained/s", "both/s", "log bytes/job", "of it enqueue", "rewritten/job", "MiB"];
  const rows = results.map((one) => [
    one.name, one.version, String(one.processes), whole(one.enqueued), whole(one.drained) + (one.whole ? "" : "*"),
    whole(one.series), whole(one.log), whole(one.enqueueLog), few(one.rewritten), whole(one.peakMib),
  ]);
  const widths = head.map((_, at) => Math.max(...[head, ...rows].map((row) => row[at].length)));
  const shown = [head, ...rows].map((row) =>
    row.map((cell, at) => (at < 2 ? cell.padEnd(widths[at]) : cell.padStart(widths[at]))).join("  ").trimEnd());
  if (results.some((one) => !one.whole)) shown.push("* stopped at the limit of time; the rate is of what was done by then");
  return shown.join("\n");
}
