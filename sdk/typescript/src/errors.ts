/** What is wrong with one field of a request. */
export interface FieldError {
  /** A JSON pointer into the body, or `?name` for a parameter of the query. */
  pointer: string;
  detail: string;
}

/** An error as the server tells it (RFC 9457). */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  /** The stable code, explained in the server's `/docs/errors`. */
  code: string;
  errors?: FieldError[];
}

/** Everything that this package throws by itself. */
export class MainstayError extends Error {
  override name = 'MainstayError';
}

/** The server could not be reached, or did not answer in time. Whether the request took effect is not known. */
export class UnreachableError extends MainstayError {
  override name = 'UnreachableError';
}

/** The server said no. */
export class ProblemError extends MainstayError {
  override name = 'ProblemError';
  readonly status: number;
  /** The stable code. */
  readonly code: string;
  readonly problem: Problem;
  /** Seconds after which to try again, where the server says so. */
  readonly retryAfterSecs: number | undefined;

  constructor(problem: Problem, retryAfterSecs?: number) {
    super(`${problem.code}: ${problem.detail}`);
    this.status = problem.status;
    this.code = problem.code;
    this.problem = problem;
    this.retryAfterSecs = retryAfterSecs;
  }

  /** Whether the same request can succeed later. */
  get temporary(): boolean {
    return this.status === 429 || this.status >= 500;
  }
}

/** Fields of the request are wrong. */
export class ValidationError extends ProblemError {
  override name = 'ValidationError';

  get fields(): FieldError[] {
    return this.problem.errors ?? [];
  }
}

/** The key is missing, has ended, or may not do this. */
export class AccessError extends ProblemError {
  override name = 'AccessError';
}

/** There is no such thing in reach. */
export class NotFoundError extends ProblemError {
  override name = 'NotFoundError';
}

/** Not possible as things stand. */
export class ConflictError extends ProblemError {
  override name = 'ConflictError';
}

/** Too many requests. */
export class RateLimitedError extends ProblemError {
  override name = 'RateLimitedError';
}

/** The server cannot do it now. */
export class UnavailableError extends ProblemError {
  override name = 'UnavailableError';
}

/** The error that a problem is. */
export function problemError(problem: Problem, retryAfterSecs?: number): ProblemError {
  const kind = kindOf(problem.status);
  return new kind(problem, retryAfterSecs);
}

function kindOf(status: number): typeof ProblemError {
  if (status === 400 || status === 413 || status === 415 || status === 422) return ValidationError;
  if (status === 401 || status === 403) return AccessError;
  if (status === 404 || status === 410) return NotFoundError;
  if (status === 409) return ConflictError;
  if (status === 429) return RateLimitedError;
  if (status >= 500) return UnavailableError;
  return ProblemError;
}
