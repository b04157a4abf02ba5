import assert from "node:assert/strict";
import { test } from "node:test";
import { lines, median, table, together } from "./verdict.mjs";

const once = (name, drainSecs, rest = {}) => ({
  name, version: "1", database: "postgres", processes: 1, jobs: 1_000, done: 1_000, enqueueSecs: 1, drainSecs,
  enqueueLog: 300_000, drainLog: 200_000, rewritten: 7, dead: 0, peakMib: 10, ...rest,
});
const ours = (drainSecs, rest) => together([once("mainstay", drainSecs, { ours: true, bar: true, ...rest })]);
const other = (drainSecs, rest) => together([once("other", drainSecs, rest)]);
const bar = (results, name, complete = true) => lines(results, complete).find((line) => line.bench === name);

test("the drain holds when it is twice the fastest other queue's", () => {
  const line = bar([ours(1), other(2), other(4)], "peers-drain");
  assert.deepEqual([line.value, line.reference, line.ratio, line.bar, line.holds], [1_000, 500, 2, 2, true]);
  assert.equal(bar([ours(1), other(1.99), other(4)], "peers-drain").holds, false);
});

test("Mainstay's other ways are shown and are neither its best nor a rival", () => {
  const pulled = together([once("mainstay pulled", 0.1, { ours: true })]);
  const line = bar([ours(1), pulled, other(2)], "peers-drain");
  assert.deepEqual([line.value, line.reference], [1_000, 500]);
});

test("of one and of two processes the better counts, on both sides", () => {
  const line = bar([ours(2), ours(1), other(8), other(4)], "peers-drain");
  assert.deepEqual([line.value, line.reference], [1_000, 250]);
});

test("nothing holds and nothing fails where a queue was not measured", () => {
  assert.equal(bar([ours(1), other(2)], "peers-drain", false).holds, null);
  assert.equal(bar([ours(1)], "peers-drain", false), undefined);
  assert.equal(bar([other(1)], "peers-log"), undefined);
});

test("a drain of ours that was stopped at the limit of time does not hold", () => {
  assert.equal(bar([ours(1, { done: 999 }), other(9)], "peers-drain").holds, false);
});

test("the log and dead rows of jobs are bars of their own", () => {
  assert.deepEqual([bar([ours(1)], "peers-log").value, bar([ours(1)], "peers-log").holds], [500, true]);
  assert.equal(bar([ours(1, { drainLog: 400_000 })], "peers-log").holds, true);
  assert.equal(bar([ours(1, { drainLog: 400_001 })], "peers-log").holds, false);
  assert.equal(bar([ours(1)], "peers-dead-rows").holds, true);
  assert.equal(bar([ours(1, { dead: 1 })], "peers-dead-rows").holds, false);
});

test("every line has the fields of a bench", () => {
  const fields = ["bench", "database", "value", "unit", "reference", "ratio", "p50_ms", "p99_ms", "peak_rss_mib", "bar", "holds"];
  for (const line of lines([ours(1), other(2, { database: "redis", enqueueLog: NaN, drainLog: NaN, rewritten: NaN, dead: null })], true)) {
    assert.deepEqual(Object.keys(line).slice(0, fields.length), fields);
    assert.doesNotThrow(() => JSON.parse(JSON.stringify(line)));
  }
});

test("rounds are told by their median, and both phases by the sum of their times", () => {
  const rounds = [once("other", 1), once("other", 4), once("other", 3)];
  const result = together(rounds);
  assert.equal(Math.round(result.drained), 333);
  assert.equal(result.series, 250);
  assert.deepEqual(result.rounds.map(Math.round), [1_000, 250, 333]);
  assert.equal(median([1, 2]), 1);
});

test("what was not finished is told by what was done, and marked", () => {
  const result = other(10, { done: 500 });
  assert.equal(result.drained, 50);
  assert.ok(Math.abs(result.series - 1_000 / 21) < 1e-9);
  assert.match(table([result]), /50\*/);
});
