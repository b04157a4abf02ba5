import { MainstayError, type Problem, UnreachableError, problemError } from './errors.js';

/** Where the server is, and how to sign in. */
export interface ConnectionOptions {
  /** The server's address, e.g. `https://mainstay.example.com`. */
  url: string;
  /** An API key: `msk_…`. */
  key: string;
  /** For how long to wait for an answer, in milliseconds (30,000). */
  timeoutMs?: number;
  /** In the place of the global `fetch`. */
  fetch?: typeof fetch;
}

/** What a request may be given beside its body. */
export interface CallOptions {
  signal?: AbortSignal;
  /** In the place of the connection's. */
  timeoutMs?: number;
  headers?: Record<string, string>;
}

/** The API of a server. */
export class Connection {
  readonly #base: string;
  readonly #key: string;
  readonly #timeoutMs: number;
  readonly #fetch: typeof fetch;

  constructor(options: ConnectionOptions) {
    if (!options.url) throw new MainstayError('url is missing: the address of the server');
    if (!options.key) throw new MainstayError('key is missing: an API key of the server');
    this.#base = options.url.replace(/\/+$/, '');
    this.#key = options.key;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    this.#fetch = options.fetch ?? fetch;
  }

  /** Makes a request and reads its answer; every failure is an error of ours, but for an abort by the caller's signal. */
  async call<T>(method: string, path: string, body?: unknown, options: CallOptions = {}): Promise<T> {
    const response = await this.#send(method, path, body, options);
    const text = await response.text().catch((cause: unknown) => {
      throw this.#away(cause, options.signal);
    });
    if (response.ok) return (text === '' ? undefined : JSON.parse(text)) as T;
    throw problemError(problemIn(text, response.status), retryAfter(response));
  }

  async #send(method: string, path: string, body: unknown, options: CallOptions): Promise<Response> {
    const timeout = AbortSignal.timeout(Math.ceil(options.timeoutMs ?? this.#timeoutMs));
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    const headers: Record<string, string> = {
      accept: 'application/json',
      authorization: `Bearer ${this.#key}`,
      ...options.headers,
    };
    const init: RequestInit = { method, headers, signal, redirect: 'error' };
    if (body !== undefined) {
      headers['content-type'] = 'application/json';
      init.body = JSON.stringify(body);
    }
    try {
      return await this.#fetch(`${this.#base}${path}`, init);
    } catch (cause) {
      throw this.#away(cause, options.signal);
    }
  }

  #away(cause: unknown, signal: AbortSignal | undefined): unknown {
    if (signal?.aborted) return signal.reason;
    return new UnreachableError(`no answer from ${this.#base}`, { cause });
  }
}

function problemIn(text: string, status: number): Problem {
  try {
    const problem = JSON.parse(text) as Partial<Problem>;
    if (typeof problem.code === 'string') return { ...(problem as Problem), status };
  } catch {
    // Something that stands in front of the server said it.
  }
  const detail = `the answer has the status ${status} and is no problem of Mainstay's`;
  return { type: 'about:blank', title: 'unexpected answer', status, detail, code: 'unexpected_answer' };
}

function retryAfter(response: Response): number | undefined {
  const secs = Number(response.headers.get('retry-after') ?? Number.NaN);
  return Number.isFinite(secs) ? secs : undefined;
}
