import { beforeEach, describe, expect, it } from "vitest";
import { type Connection, Stream, type StreamWorld } from "./stream";
import type { Change, Tick } from "./types";

class FakeSource extends EventTarget {
  closed = false;
  close() {
    this.closed = true;
  }
  say(type: string, data?: unknown) {
    this.dispatchEvent(data === undefined ? new Event(type) : new MessageEvent(type, { data: JSON.stringify(data) }));
  }
}

let sources: FakeSource[];
let frames: (() => void)[];
let timers: { ms: number; run: () => void; on: boolean }[];
let online: boolean;
let said: Connection[];
let seen: { ticks: Tick[]; changes: Change[] }[];
let reconnected: number;

const world: StreamWorld = {
  open: () => {
    const source = new FakeSource();
    sources.push(source);
    return source as unknown as EventSource;
  },
  frame: (callback) => frames.push(callback),
  after: (ms, run) => {
    const timer = { ms, run, on: true };
    timers.push(timer);
    return () => {
      timer.on = false;
    };
  },
  online: () => online,
  random: () => 0.5,
};
/** Lets the newest timer that is still on go off. */
const fire = () => {
  const timer = timers.filter(({ on }) => on).at(-1)!;
  timer.on = false;
  timer.run();
  return timer.ms;
};
const paint = () => frames.splice(0).forEach((frame) => frame());
const tick = (at: string) => ({ at, rates: { received: 1, done: 1, failed: 0 }, backlog: { waiting: 0, running: 0, retrying: 0 }, dead_letters: 0 });

let stream: Stream;
beforeEach(() => {
  sources = [];
  frames = [];
  timers = [];
  online = true;
  said = [];
  seen = [];
  reconnected = 0;
  stream = new Stream(
    "/v1/stream",
    {
      onFrame: (ticks, changes) => seen.push({ ticks, changes }),
      onReconnected: () => void (reconnected += 1),
      onConnection: (connection) => said.push(connection),
    },
    world,
  );
  stream.start();
});

describe("the stream", () => {
  it("hands out everything of one frame at once", () => {
    const [source] = sources;
    source!.say("open");
    source!.say("tick", tick("a"));
    source!.say("change", { kind: "job", ids: ["1"], more: false });
    source!.say("change", { kind: "job", ids: ["2"], more: false });
    source!.say("tick", tick("b"));
    expect(frames).toHaveLength(1);
    paint();
    expect(seen).toHaveLength(1);
    expect(seen[0]!.ticks.map(({ at }) => at)).toEqual(["a", "b"]);
    expect(seen[0]!.changes).toEqual([{ kind: "job", ids: ["1", "2"], more: false }]);
  });

  it("is live only once it has heard something", () => {
    expect(said).toEqual([]);
    sources[0]!.say("open");
    expect(said).toEqual(["live"]);
    expect(reconnected).toBe(0);
  });

  it("comes back by itself, later each time, and says when it has given up hope", () => {
    sources[0]!.say("open");
    sources[0]!.say("error");
    expect(said).toEqual(["live", "reconnecting"]);
    const waits = [fire()];
    sources[1]!.say("error");
    waits.push(fire());
    sources[2]!.say("error");
    waits.push(fire());
    expect(waits).toEqual([500, 1000, 2000]);
    expect(said).toEqual(["live", "reconnecting", "offline"]);
    sources[3]!.say("open");
    expect(said.at(-1)).toBe("live");
    expect(reconnected).toBe(1);
  });

  it("does not trust an open socket that says nothing", () => {
    sources[0]!.say("open");
    expect(fire()).toBe(6000);
    expect(said.at(-1)).toBe("reconnecting");
    expect(sources[0]!.closed).toBe(true);
  });

  it("calls no network what it is", () => {
    sources[0]!.say("open");
    online = false;
    stream.lost();
    expect(said.at(-1)).toBe("offline");
  });

  it("ignores what an old connection still says, and what is not JSON", () => {
    const [old] = sources;
    old!.say("open");
    old!.say("error");
    fire();
    old!.say("tick", tick("late"));
    sources[1]!.say("open");
    sources[1]!.dispatchEvent(new MessageEvent("tick", { data: "{" }));
    paint();
    expect(seen.flatMap(({ ticks }) => ticks)).toEqual([]);
  });

  it("tries at once when asked, but never beside a live connection", () => {
    sources[0]!.say("open");
    stream.retryNow();
    expect(sources).toHaveLength(1);
    sources[0]!.say("error");
    stream.retryNow();
    expect(sources).toHaveLength(2);
  });
});
