import { hostname } from 'node:os';
import { randomBytes } from 'node:crypto';
import type { CallOptions, Connection } from './http.js';
import { ConflictError, MainstayError, ProblemError, UnreachableError } from './errors.js';
import { pause } from './pause.js';
import type { components } from './schema.js';

type Schemas = components['schemas'];
type Outcome = Schemas['OutcomeInput'];
type Pulled = Schemas['Pulled'];

/** How far a job is. */
export interface Progress {
  /** Hundredths that are done, 0 to 100. */
  percent?: number;
  /** In words. */
  note?: string;
}

/** A job in a worker's hands. */
export interface WorkerJob<P = unknown> {
  readonly id: string;
  readonly kind: string;
  readonly queue: string;
  readonly tenantId: string;
  readonly payload: P;
  /** Greater each time that the job is handed out: a fencing token for whatever it is written to. */
  readonly attempt: number;
  /** Which try it is, from 1. */
  readonly tries: number;
  readonly createdAt: Date;
  /** Aborted when the job was cancelled, is in other hands, or the worker is stopped for good. */
  readonly signal: AbortSignal;
  /** Says how far it is: told with the next sign of life, and shown on the job's page. */
  progress(progress: Progress): void;
}

/** What carries jobs out. What it resolves with is kept as the job's result. */
export type Handler<P, R> = (job: WorkerJob<P>) => Promise<R> | R;

/** What happens to a worker, told as it happens. */
export type WorkerEvent =
  | { type: 'done'; job: string; recorded: boolean }
  | { type: 'failed'; job: string; error: unknown }
  | { type: 'cancelled'; job: string }
  | { type: 'lost'; job: string }
  | { type: 'away'; error: unknown; pauseMs: number }
  | { type: 'back' };

/** How a worker works. */
export interface WorkerOptions<P, R> {
  /** The queue, or queues, whose jobs it takes. */
  queue: string | readonly string[];
  handler: Handler<P, R>;
  /** How many jobs at the same time (1, at most 100). */
  concurrency?: number;
  /** Its name, its own; left out: the machine's, the process's and a part that is made up. */
  name?: string;
  /** For how long a job is in hand should this process die, in seconds (30; 5 to 3600). */
  leaseSecs?: number;
  /** For how long one request for jobs waits at the server, in seconds (20; at most 30). */
  waitSecs?: number;
  /** Told of what happens; errors of a handler stand in the job's history anyway. */
  onEvent?: (event: WorkerEvent) => void;
}

/** Thrown by a handler: the job fails, and is tried again by its policy or as this says. */
export class JobFailure extends MainstayError {
  override name = 'JobFailure';
  readonly failure: Schemas['FailureInput'];

  constructor(
    message: string,
    options: {
      /** What kind of failure: `validation`, `auth` and `bug` are not tried again. */
      category?: 'network' | 'timeout' | 'rate_limited' | 'validation' | 'auth' | 'conflict' | 'database' | 'provider' | 'bug' | 'unknown';
      /** A stable code of your own. */
      code?: string;
      /** Not before so many seconds have passed. */
      retryAfterSecs?: number;
      /** False: not tried again, whatever its policy says. */
      retryable?: boolean;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.failure = {
      message: clipped(message, 2_000),
      ...(options.category !== undefined && { category: options.category }),
      ...(options.code !== undefined && { code: options.code }),
      ...(options.retryAfterSecs !== undefined && { retry_after_secs: options.retryAfterSecs }),
      ...(options.retryable !== undefined && { retryable: options.retryable }),
    } as Schemas['FailureInput'];
  }
}

/** Thrown by a handler: the job is given back and handed out again later. That uses up no try. */
export class Snooze extends MainstayError {
  override name = 'Snooze';
  readonly secs: number;
  readonly reason: string | undefined;

  constructor(secs: number, reason?: string) {
    super(reason ?? `not before ${secs} seconds have passed`);
    this.secs = secs;
    this.reason = reason;
  }
}

/** Thrown by a handler: the job is given back, to be handed to another at once. That uses up no try. */
export class Release extends MainstayError {
  override name = 'Release';
  readonly reason: string | undefined;

  constructor(reason?: string) {
    super(reason ?? 'given back');
    this.reason = reason;
  }
}

/** Why a job's signal was aborted. */
export class JobGone extends MainstayError {
  override name = 'JobGone';
  readonly why: 'cancelled' | 'lost' | 'stopped';

  constructor(why: 'cancelled' | 'lost' | 'stopped') {
    super(`the job is ${why}`);
    this.why = why;
  }
}

interface InHand {
  id: string;
  abort: AbortController;
  progress: Progress | undefined;
  /** The handler has ended; what is left is to tell the outcome. */
  handled: boolean;
  done: Promise<void>;
}

const PAUSE_MIN_MS = 250;
const PAUSE_MAX_MS = 30_000;
/** Where only another node has to be asked: the pause for signs of life and outcomes, whose leases go on meanwhile. */
const NEAR_MS = 250;
/** The longest such pause between requests for jobs. */
const NEAR_MAX_MS = 1_000;
/** How long an outcome is told again after a stop for good, and jobs are asked for by `drain`, while nobody answers. */
const TELL_MS = 10_000;
const RESULT_BYTES_MAX = 64 * 1024;

/** A worker. */
export class Worker<P = unknown, R = unknown> {
  readonly name: string;
  readonly #connection: Connection;
  readonly #options: WorkerOptions<P, R>;
  readonly #queues: string[];
  readonly #concurrency: number;
  readonly #leaseSecs: number;
  readonly #hands = new Map<string, InHand>();
  /** Aborted: nothing more is taken. */
  readonly #stopping = new AbortController();
  /** Aborted: what runs is given up. */
  readonly #ending = new AbortController();
  #free: (() => void) | undefined;
  #beatTimer: ReturnType<typeof setInterval> | undefined;
  #beating = false;
  #running: Promise<void> | undefined;

  constructor(connection: Connection, options: WorkerOptions<P, R>) {
    this.#connection = connection;
    this.#options = options;
    this.#queues = typeof options.queue === 'string' ? [options.queue] : [...options.queue];
    this.#concurrency = within('concurrency', options.concurrency ?? 1, 1, 100);
    this.#leaseSecs = within('leaseSecs', options.leaseSecs ?? 30, 5, 3600);
    within('waitSecs', options.waitSecs ?? 20, 0, 30);
    this.name = options.name ?? clipped(`${hostname()}-${process.pid}-${randomBytes(3).toString('hex')}`, 100);
  }

  /** Begins to work. Again, it does nothing. */
  start(): this {
    if (!this.#running) {
      this.#beatTimer = setInterval(() => void this.#beats(), (this.#leaseSecs * 1000) / 3);
      this.#running = this.#work();
      // Whoever waits for it hears of it; nobody else has to.
      this.#running.catch(() => {});
    }
    return this;
  }

  /** Resolves when it has been stopped; rejects when the server says that this worker may not work at all. */
  async finished(): Promise<void> {
    await this.#running;
  }

  /** The jobs in its hands. */
  get inHand(): number {
    return this.#hands.size;
  }

  /**
   * Takes nothing more and resolves when what runs has ended. After `graceMs` (left out: never) what still runs is aborted
   * and given back, which uses up no try of its jobs.
   */
  async stop(options: { graceMs?: number } = {}): Promise<void> {
    this.#stopping.abort(new JobGone('stopped'));
    this.#free?.();
    const timer =
      options.graceMs === undefined
        ? undefined
        : setTimeout(() => this.#giveUp(), options.graceMs);
    try {
      await this.#running?.catch(() => {});
      await Promise.allSettled([...this.#hands.values()].map((hand) => hand.done));
    } finally {
      clearTimeout(timer);
      clearInterval(this.#beatTimer);
    }
  }

  /** Takes the jobs that there are, works until there are none left, and stops. For tests and for functions that live for a moment. */
  async drain(): Promise<number> {
    let taken = 0;
    this.#beatTimer = setInterval(() => void this.#beats(), (this.#leaseSecs * 1000) / 3);
    try {
      for (;;) {
        const jobs = await this.#pullSoon();
        if (jobs.length === 0) return taken;
        taken += jobs.length;
        for (const job of jobs) this.#take(job);
        await Promise.allSettled([...this.#hands.values()].map((hand) => hand.done));
      }
    } finally {
      clearInterval(this.#beatTimer);
    }
  }

  async #work(): Promise<void> {
    let pauseMs = 0;
    while (!this.#stopping.signal.aborted) {
      const free = this.#concurrency - this.#hands.size;
      if (free <= 0) {
        await new Promise<void>((resolve) => {
          this.#free = resolve;
        });
        continue;
      }
      try {
        const jobs = await this.#pull(free, this.#options.waitSecs ?? 20);
        if (pauseMs > 0) this.#tell({ type: 'back' });
        pauseMs = 0;
        for (const job of jobs) this.#take(job);
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        if (error instanceof ProblemError && !error.temporary) {
          clearInterval(this.#beatTimer);
          throw error;
        }
        pauseMs = longer(pauseMs, error);
        this.#tell({ type: 'away', error, pauseMs });
        await pause(jittered(pauseMs), this.#stopping.signal).catch(() => {});
      }
    }
  }

  /** What there is, also while the jobs are between two owners. */
  async #pullSoon(): Promise<Pulled['jobs']> {
    let pauseMs = 0;
    const began = Date.now();
    for (;;) {
      try {
        return await this.#pull(this.#concurrency, 0);
      } catch (error) {
        if (!elsewhere(error) || Date.now() - began > TELL_MS) throw error;
        pauseMs = longer(pauseMs, error);
        this.#tell({ type: 'away', error, pauseMs });
      }
      await pause(jittered(pauseMs), this.#stopping.signal);
    }
  }

  async #pull(max: number, waitSecs: number): Promise<Pulled['jobs']> {
    const body = {
      worker: this.name,
      queues: this.#queues,
      max,
      lease_secs: this.#leaseSecs,
      wait_secs: waitSecs,
    };
    const options: CallOptions = { signal: this.#stopping.signal, timeoutMs: (waitSecs + 15) * 1000 };
    const pulled = await this.#connection.call<Pulled>('POST', '/v1/workers/pull', body, options);
    return pulled.jobs;
  }

  #take(job: Pulled['jobs'][number]): void {
    const hand: InHand = {
      id: job.id,
      abort: new AbortController(),
      progress: undefined,
      handled: false,
      done: Promise.resolve(),
    };
    this.#hands.set(job.token, hand);
    hand.done = this.#carryOut(job, hand).finally(() => {
      this.#hands.delete(job.token);
      this.#free?.();
    });
    hand.done.catch(() => {});
  }

  async #carryOut(job: Pulled['jobs'][number], hand: InHand): Promise<void> {
    const given: WorkerJob<P> = {
      id: job.id,
      kind: job.kind,
      queue: job.queue,
      tenantId: job.tenant_id,
      payload: job.payload as P,
      attempt: job.attempt,
      tries: job.tries,
      createdAt: new Date(job.created_at),
      signal: hand.abort.signal,
      progress: (progress) => {
        hand.progress = progress;
      },
    };
    const outcome = await this.#outcome(given, job.token);
    hand.handled = true;
    const gone = hand.abort.signal.reason as JobGone | undefined;
    if (hand.abort.signal.aborted && gone?.why !== 'stopped') return;
    // Its last word on how far it is comes first, so that it is kept.
    if (hand.progress) await this.#beat(job.token);
    const given_back = hand.abort.signal.aborted && outcome.outcome !== 'completed';
    const told = given_back ? { token: job.token, outcome: 'released' as const, reason: 'the worker was stopped' } : outcome;
    await this.#report(job.id, told as Outcome);
  }

  async #outcome(job: WorkerJob<P>, token: string): Promise<Outcome> {
    try {
      const result = await this.#options.handler(job);
      const text = result === undefined ? undefined : JSON.stringify(result);
      if (text !== undefined && Buffer.byteLength(text) > RESULT_BYTES_MAX) {
        throw new JobFailure(`the handler's result has more than ${RESULT_BYTES_MAX} bytes of JSON`, { category: 'bug', code: 'result_too_large' });
      }
      return { token, outcome: 'completed', ...(text !== undefined && { result: JSON.parse(text) as unknown }) } as Outcome;
    } catch (error) {
      if (error instanceof Snooze) {
        return { token, outcome: 'snoozed', delay_secs: error.secs, ...(error.reason && { reason: clipped(error.reason, 500) }) } as Outcome;
      }
      if (error instanceof Release) {
        return { token, outcome: 'released', ...(error.reason && { reason: clipped(error.reason, 500) }) } as Outcome;
      }
      if (!job.signal.aborted) this.#tell({ type: 'failed', job: job.id, error });
      return { token, outcome: 'failed', failure: failureOf(error) } as Outcome;
    }
  }

  /** Tells an outcome until the server has recorded it, or says that it counts for nothing. */
  async #report(job: string, outcome: Outcome): Promise<void> {
    const body = { worker: this.name, outcomes: [outcome] };
    let pauseMs = 0;
    const began = Date.now();
    for (;;) {
      try {
        await this.#connection.call('POST', '/v1/workers/report', body);
        this.#tell({ type: 'done', job, recorded: true });
        return;
      } catch (error) {
        if (error instanceof ConflictError) {
          this.#tell({ type: 'done', job, recorded: false });
          return;
        }
        const away = error instanceof UnreachableError || (error instanceof ProblemError && error.temporary);
        const over = this.#ending.signal.aborted && Date.now() - began > TELL_MS;
        if (!away || over) {
          this.#tell({ type: 'failed', job, error });
          return;
        }
        pauseMs = elsewhere(error) ? NEAR_MS : longer(pauseMs, error);
        this.#tell({ type: 'away', error, pauseMs });
      }
      await pause(jittered(pauseMs));
    }
  }

  /** Signs of life for all that is in hand, unless some are under way. */
  async #beats(): Promise<void> {
    if (this.#beating) return;
    this.#beating = true;
    try {
      await this.#beat();
    } finally {
      this.#beating = false;
    }
  }

  /** A sign of life for all or for one. Where it is only another node that has to be asked, that is done soon: a lease ends while one waits for the next. */
  async #beat(only?: string): Promise<void> {
    while (await this.#beatOnce(only === undefined ? [...this.#hands.keys()] : [only])) {
      if (this.#ending.signal.aborted) return;
      await pause(jittered(NEAR_MS));
    }
  }

  /** Whether it is to be asked again soon. */
  async #beatOnce(tokens: string[]): Promise<boolean> {
    if (tokens.length === 0) return false;
    const beats = tokens.map((token) => {
      const progress = this.#hands.get(token)?.progress;
      return progress ? { token, progress: wire(progress) } : { token };
    });
    try {
      const body = { worker: this.name, beats };
      const answer = await this.#connection.call<Schemas['HeartbeatView']>('POST', '/v1/workers/heartbeat', body, {
        timeoutMs: (this.#leaseSecs * 1000) / 3,
      });
      for (const beat of answer.beats) this.#stands(beat);
      return false;
    } catch (error) {
      // Where the server is away it grants everybody a lease more when it is back.
      const near = elsewhere(error);
      this.#tell({ type: 'away', error, pauseMs: near ? NEAR_MS : 0 });
      return near;
    }
  }

  #stands(beat: Schemas['BeatView']): void {
    const hand = this.#hands.get(beat.token);
    // Of an outcome that is being told the server says so itself.
    if (!hand || hand.handled || hand.abort.signal.aborted) return;
    if (beat.state === 'cancelled') {
      hand.abort.abort(new JobGone('cancelled'));
      this.#tell({ type: 'cancelled', job: hand.id });
    }
    if (beat.state === 'ended') {
      hand.abort.abort(new JobGone('lost'));
      this.#tell({ type: 'lost', job: hand.id });
    }
  }

  #giveUp(): void {
    this.#ending.abort();
    for (const hand of this.#hands.values()) hand.abort.abort(new JobGone('stopped'));
  }

  #tell(event: WorkerEvent): void {
    this.#options.onEvent?.(event);
  }
}

/** Whether another node owns the jobs, or one that has just begun to: soon somebody answers. */
function elsewhere(error: unknown): boolean {
  return error instanceof ProblemError && (error.code === 'not_the_owner' || error.code === 'owner_starting');
}

/** About as long: workers that were turned away together do not come back together. */
function jittered(pauseMs: number): number {
  return pauseMs * (0.75 + Math.random() / 2);
}

function longer(pauseMs: number, error: unknown): number {
  if (elsewhere(error)) return Math.min(NEAR_MAX_MS, Math.max(NEAR_MS, pauseMs * 2));
  const asked = error instanceof ProblemError ? (error.retryAfterSecs ?? 0) * 1000 : 0;
  return Math.min(PAUSE_MAX_MS, Math.max(PAUSE_MIN_MS, pauseMs * 2, asked));
}

function failureOf(error: unknown): Schemas['FailureInput'] {
  if (error instanceof JobFailure) return error.failure;
  const message = error instanceof Error ? error.message || error.name : String(error);
  return { message: clipped(message, 2_000) } as Schemas['FailureInput'];
}

/** A text as the API takes it: short enough, on one line, nothing around it. */
function clipped(text: string, most: number): string {
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').trim();
  return [...clean].slice(0, most).join('').trim() || 'no message';
}

function wire(progress: Progress): Record<string, unknown> {
  return {
    ...(progress.percent !== undefined && { percent: Math.round(Math.min(100, Math.max(0, progress.percent))) }),
    ...(progress.note && { note: clipped(progress.note, 500) }),
  };
}

function within(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new MainstayError(`${name} must be ${least} to ${most}`);
  }
  return value;
}
