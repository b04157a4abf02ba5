// The connection to /v1/stream: one for the whole page, told of honestly, and never trusted to be complete: after
// every gap the pages load again.
import { Changes } from "./live";
import type { Change, Tick } from "./types";

export type Connection = "connecting" | "live" | "reconnecting" | "offline";

export interface StreamHandlers {
  /** The ticks of a frame and what changed in it, at most once per animation frame. */
  onFrame(ticks: Tick[], changes: Change[]): void;
  /** Live again after a gap: what is loaded may be old. */
  onReconnected(): void;
  onConnection(connection: Connection): void;
}

/** What the stream needs of the browser, so that tests can stand in for it. */
export interface StreamWorld {
  open(url: string): EventSource;
  frame(callback: () => void): void;
  after(ms: number, callback: () => void): () => void;
  online(): boolean;
  random(): number;
}

const browser: StreamWorld = {
  open: (url) => new EventSource(url),
  frame: (callback) => {
    // No frames are painted in a hidden tab; there a slow timer is enough.
    if (document.hidden) setTimeout(callback, 1000);
    else requestAnimationFrame(callback);
  },
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
  online: () => navigator.onLine,
  random: () => Math.random(),
};

/** A tick comes every second; after this long without one the connection is not live, whatever the socket says. */
const SILENCE_MS = 6_000;
/** After this many failures in a row "reconnecting" would be a lie. */
const FAILURES_UNTIL_OFFLINE = 3;
const DELAYS_MS = [500, 1_000, 2_000, 5_000, 10_000];

export class Stream {
  private source: EventSource | null = null;
  private readonly changes = new Changes();
  // Every tick counts: each says what happened in its second.
  private ticks: Tick[] = [];
  private framed = false;
  private failures = 0;
  private wasLive = false;
  private connection: Connection = "connecting";
  private cancelSilence: () => void = () => {};
  private cancelRetry: () => void = () => {};

  constructor(
    private readonly url: string,
    private readonly handlers: StreamHandlers,
    private readonly world: StreamWorld = browser,
  ) {}

  start(): void {
    this.connect();
  }

  stop(): void {
    this.cancelSilence();
    this.cancelRetry();
    this.source?.close();
    this.source = null;
  }

  /** Tries at once instead of when the delay is over: the network came back, or a person asked. */
  retryNow(): void {
    if (this.connection === "live") return;
    this.cancelRetry();
    this.connect();
  }

  /** The browser says that there is no network. */
  lost(): void {
    this.source?.close();
    this.fail();
  }

  private connect(): void {
    this.source?.close();
    const source = this.world.open(this.url);
    this.source = source;
    const mine = (handle: (message: MessageEvent<string>) => void) => (message: Event) => {
      if (this.source === source) handle(message as MessageEvent<string>);
    };
    source.addEventListener("open", mine(() => this.heard()));
    source.addEventListener("tick", mine((message) => {
      this.heard();
      const tick = parse<Tick>(message.data);
      if (tick) this.ticks.push(tick);
      if (this.ticks.length > 60) this.ticks.shift();
      this.schedule();
    }));
    source.addEventListener("change", mine((message) => {
      this.heard();
      const change = parse<Change>(message.data);
      if (change) this.changes.add(change);
      this.schedule();
    }));
    source.addEventListener("error", mine(() => this.fail()));
    this.watchSilence();
  }

  private heard(): void {
    this.failures = 0;
    this.watchSilence();
    if (this.connection === "live") return;
    this.say("live");
    if (this.wasLive) this.handlers.onReconnected();
    this.wasLive = true;
  }

  private watchSilence(): void {
    this.cancelSilence();
    this.cancelSilence = this.world.after(SILENCE_MS, () => this.fail());
  }

  private fail(): void {
    this.cancelSilence();
    this.cancelRetry();
    this.source?.close();
    this.source = null;
    const delay = DELAYS_MS[Math.min(this.failures, DELAYS_MS.length - 1)]!;
    this.failures += 1;
    this.say(!this.world.online() || this.failures >= FAILURES_UNTIL_OFFLINE ? "offline" : "reconnecting");
    // Spread, so that a restarted server does not meet every open page in the same instant.
    this.cancelRetry = this.world.after(delay * (0.75 + this.world.random() / 2), () => this.connect());
  }

  private say(connection: Connection): void {
    if (connection === this.connection) return;
    this.connection = connection;
    this.handlers.onConnection(connection);
  }

  private schedule(): void {
    if (this.framed) return;
    this.framed = true;
    this.world.frame(() => {
      this.framed = false;
      const ticks = this.ticks;
      this.ticks = [];
      this.handlers.onFrame(ticks, this.changes.take());
    });
  }
}

function parse<T>(data: string): T | null {
  try {
    return JSON.parse(data) as T;
  } catch {
    return null;
  }
}
