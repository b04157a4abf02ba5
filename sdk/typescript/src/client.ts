import { randomUUID } from 'node:crypto';
import { type CallOptions, Connection, type ConnectionOptions } from './http.js';
import { UnavailableError, UnreachableError } from './errors.js';
import { pause } from './pause.js';
import type { components } from './schema.js';
import { Worker, type WorkerOptions } from './worker.js';

/** The types of the API, made from its OpenAPI document. */
export type Schemas = components['schemas'];
/** A job as the API shows it. */
export type Job = Schemas['Job'];
/** A job with its attempts, their progress and results. */
export type JobWithAttempts = Schemas['JobWithAttempts'];
/** How a job is tried again. */
export type Retry = NonNullable<Schemas['NewJobInput']['retry']>;

/** A job to submit. */
export interface NewJob<P = unknown> {
  /** What is to be done, e.g. `invoice.render`. */
  kind: string;
  /** The queue whose workers do it. */
  queue?: string;
  /** Handed to the handler as it is; at most 256 KiB of JSON. */
  payload?: P;
  /** Whose it is: a tenant's id. */
  tenantId?: string;
  /** Not before. */
  runAt?: Date;
  /** Not at or after: what has not begun by then is a dead letter with the code `expired`. */
  deadline?: Date;
  /** The same, so many seconds from when it is submitted. */
  expiresInSecs?: number;
  retry?: Retry;
  /** Jobs of a tenant and a queue that share it run one at a time, in their order. */
  orderingKey?: string;
  /** What becomes of the others with its key should it end as a dead letter. */
  onDead?: 'park' | 'continue';
  /** There is to be one of it: what becomes of it when there is another with its key. */
  unique?: Schemas['UniqueInput'];
}

/** What a submission may be given. */
export interface EnqueueOptions {
  /** The same key with the same request takes effect once within a day. Left out: a new one, so that only this call's own repetitions are safe. */
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/** How often a submission is repeated before it fails. */
const TRIES = 4;
const PAUSE_MS = 250;

/** A Mainstay server. */
export class Mainstay {
  readonly #connection: Connection;

  constructor(options: ConnectionOptions) {
    this.#connection = new Connection(options);
  }

  /** Submits a job. Resolves once it is committed: it will be done, whatever happens to this process. */
  enqueue<P>(job: NewJob<P>, options: EnqueueOptions = {}): Promise<Job> {
    return this.#once<Job>('/v1/jobs', wire(job), options);
  }

  /** Submits up to 1,000 jobs in one commit: all of them or none. Resolves with their ids, in the same order. */
  async enqueueMany<P>(jobs: readonly NewJob<P>[], options: EnqueueOptions = {}): Promise<string[]> {
    const body = { jobs: jobs.map((job) => wire(job)) };
    const made = await this.#once<Schemas['BulkView']>('/v1/jobs/bulk', body, options);
    return made.items.map((job) => job.id);
  }

  /** A job with its attempts. */
  job(id: string, options: CallOptions = {}): Promise<JobWithAttempts> {
    return this.call('GET', `/v1/jobs/${encodeURIComponent(id)}`, undefined, options);
  }

  /** Stops a job that has not ended; a worker that has it hears of it. */
  cancel(id: string, reason?: string): Promise<Schemas['JobEnded']> {
    const body = reason === undefined ? {} : { reason };
    return this.#once(`/v1/jobs/${encodeURIComponent(id)}/cancel`, body, {});
  }

  /** A worker: takes jobs of a queue and runs a handler for each. It works from `start()` on. */
  worker<P = unknown, R = unknown>(options: WorkerOptions<P, R>): Worker<P, R> {
    return new Worker(this.#connection, options);
  }

  /** Any other route of the API. */
  call<T>(method: string, path: string, body?: unknown, options: CallOptions = {}): Promise<T> {
    return this.#connection.call<T>(method, path, body, options);
  }

  /** A write that is repeated while the server is away, and takes effect once. */
  async #once<T>(path: string, body: unknown, options: EnqueueOptions): Promise<T> {
    const call: CallOptions = { headers: { 'idempotency-key': options.idempotencyKey ?? randomUUID() } };
    if (options.signal) call.signal = options.signal;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#connection.call<T>('POST', path, body, call);
      } catch (error) {
        const away = error instanceof UnreachableError || error instanceof UnavailableError;
        if (!away || attempt >= TRIES) throw error;
      }
      await pause(PAUSE_MS * 2 ** (attempt - 1), options.signal);
    }
  }
}

function wire(job: NewJob): Record<string, unknown> {
  // What is undefined is left out of the JSON.
  return {
    kind: job.kind,
    queue: job.queue,
    payload: job.payload,
    tenant_id: job.tenantId,
    run_at: job.runAt?.toISOString(),
    deadline: job.deadline?.toISOString(),
    expires_in_secs: job.expiresInSecs,
    retry: job.retry,
    ordering_key: job.orderingKey,
    on_dead: job.onDead,
    unique: job.unique,
  };
}
