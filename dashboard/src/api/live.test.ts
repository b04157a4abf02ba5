import { describe, expect, it } from "vitest";
import { applyTick, averageRates, Changes, mergeHead } from "./live";
import type { Overview, Tick } from "./types";

const at = (secs: number) => new Date(Date.UTC(2026, 0, 1) + secs * 1000).toISOString();
const point = (secs: number, received = 0) => ({ at: at(secs), received, duplicates: 0, refused: 0, done: 0, failed: 0, dead: 0 });

const overview = (over: Partial<Overview> = {}): Overview => ({
  window: "1h",
  now: at(3600),
  throughput: { points: [point(3480), point(3540, 7)], step_secs: 60 },
  totals: { received: 100, duplicates: 1, refused: 2, done: 90, failed: 5, dead: 1, success_rate: 0.99 },
  backlog: { waiting: 1, running: 1, retrying: 1, scheduled: 4 },
  oldest_waiting_secs: 3,
  dead_letters: 5,
  lines_parked: 0,
  jobs_parked: 0,
  concerns: [],
  sources: [],
  endpoints: [],
  ...over,
});
const tick = (secs: number, over: Partial<Tick> = {}): Tick => ({
  at: at(secs),
  rates: { received: 3, done: 2, failed: 1 },
  backlog: { waiting: 10, running: 2, retrying: 0, scheduled: 4 },
  dead_letters: 6,
  oldest_waiting_secs: null,
  ...over,
});

describe("a tick on the overview", () => {
  it("replaces the numbers of the moment and keeps what it does not speak of", () => {
    const next = applyTick(overview(), tick(3601), 3600);
    expect(next.backlog).toEqual({ waiting: 10, running: 2, retrying: 0, scheduled: 4 });
    expect(next.dead_letters).toBe(6);
    expect(next.oldest_waiting_secs).toBeNull();
    expect(next.totals).toMatchObject({ received: 103, done: 92, failed: 6, dead: 1, success_rate: 0.99 });
  });

  it("adds to the last point within its step, and begins a new one after it", () => {
    const within = applyTick(overview({ now: at(3550) }), tick(3551), 3600);
    expect(within.throughput.points.map(({ received }) => received)).toEqual([0, 10]);
    const after = applyTick(overview(), tick(3601), 3600);
    expect(after.throughput.points.at(-1)).toMatchObject({ at: at(3600), received: 3 });
    expect(after.throughput.points).toHaveLength(3);
  });

  it("lets points go that have left the window", () => {
    const next = applyTick(overview({ throughput: { points: [point(0), point(60), point(3540)], step_secs: 60 } }), tick(3721), 3600);
    expect(next.throughput.points.map(({ at: when }) => when)).toEqual([at(3540), at(3600), at(3660), at(3720)]);
  });

  it("does not count what the loaded answer has counted already", () => {
    const before = overview();
    const next = applyTick(before, tick(3600), 3600);
    expect(next.totals).toEqual(before.totals);
    expect(next.throughput).toBe(before.throughput);
    expect(next.dead_letters).toBe(6);
  });

  it("does not fill a gap as long as the window point by point", () => {
    const next = applyTick(overview(), tick(3540 + 3601), 3600);
    expect(next.throughput.points).toHaveLength(2);
  });
});

it("averages rates over the ticks it is given", () => {
  const ticks = [tick(1), tick(2, { rates: { received: 0, done: 0, failed: 0 } })];
  expect(averageRates(ticks)).toEqual({ received: 1.5, done: 1, failed: 0.5 });
  expect(averageRates([])).toEqual({ received: 0, done: 0, failed: 0 });
});

describe("changes between two frames", () => {
  it("are gathered by kind, each id once, and handed out once", () => {
    const changes = new Changes();
    changes.add({ kind: "event", ids: ["a", "b"], more: false });
    changes.add({ kind: "event", ids: ["b", "c"], more: true });
    changes.add({ kind: "job", ids: ["x"], more: false });
    expect(changes.take()).toEqual([
      { kind: "event", ids: ["a", "b", "c"], more: true },
      { kind: "job", ids: ["x"], more: false },
    ]);
    expect(changes.take()).toEqual([]);
  });

  it("stay small in a tab that nobody looks at", () => {
    const changes = new Changes();
    for (let n = 0; n < 1000; n++) changes.add({ kind: "event", ids: [`e${n}`], more: false });
    const [taken] = changes.take();
    expect(taken!.ids.length).toBe(200);
    expect(taken!.more).toBe(true);
  });
});

describe("a list and its newest page", () => {
  const rows = (...ids: string[]) => ids.map((id) => ({ id, state: "old" }));
  const newer = (...ids: string[]) => ids.map((id) => ({ id, state: "new" }));
  const idOf = (row: { id: string }) => row.id;

  it("changes rows in place and only counts new ones", () => {
    const merged = mergeHead(rows("c", "b", "a"), { items: newer("e", "d", "c", "b"), complete: false }, idOf);
    expect(merged.rows.map(({ id, state }) => id + state)).toEqual(["cnew", "bnew", "aold"]);
    expect(merged).toMatchObject({ fresh: 2, freshIsAtLeast: false });
    expect([...merged.gone]).toEqual([]);
  });

  it("says that there are at least as many when nothing overlaps", () => {
    const merged = mergeHead(rows("b", "a"), { items: newer("f", "e"), complete: false }, idOf);
    expect(merged).toMatchObject({ fresh: 2, freshIsAtLeast: true });
    expect([...merged.gone]).toEqual([]);
  });

  it("names rows that have left the list, as far as the newest page reaches", () => {
    const merged = mergeHead(rows("d", "c", "b", "a"), { items: newer("d", "b"), complete: false }, idOf);
    expect([...merged.gone]).toEqual(["c"]);
    expect(merged.rows).toHaveLength(4);
  });

  it("names all that have left when the newest page is the whole list", () => {
    expect([...mergeHead(rows("b", "a"), { items: [], complete: true }, idOf).gone]).toEqual(["b", "a"]);
  });
});
