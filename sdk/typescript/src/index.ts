export { Mainstay } from './client.js';
export type { EnqueueOptions, Job, JobWithAttempts, NewJob, Retry, Schemas } from './client.js';
export {
  AccessError,
  ConflictError,
  MainstayError,
  NotFoundError,
  ProblemError,
  RateLimitedError,
  UnavailableError,
  UnreachableError,
  ValidationError,
} from './errors.js';
export type { FieldError, Problem } from './errors.js';
export type { CallOptions, ConnectionOptions } from './http.js';
export { WebhookVerificationError, verifyWebhook } from './webhook.js';
export type { HeadersLike, VerifiedWebhook, VerifyOptions, WebhookProblem } from './webhook.js';
export { JobFailure, JobGone, Release, Snooze, Worker } from './worker.js';
export type { Handler, Progress, WorkerEvent, WorkerJob, WorkerOptions } from './worker.js';
export type { components, operations, paths } from './schema.js';
