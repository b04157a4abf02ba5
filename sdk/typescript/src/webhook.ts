import { createHmac, timingSafeEqual } from 'node:crypto';
import { MainstayError } from './errors.js';

/** Headers as any framework has them: a `Headers`, or an object whose names may be in any case. */
export type HeadersLike = Headers | Record<string, string | string[] | undefined>;

/** How a webhook is verified. */
export interface VerifyOptions {
  /** The body, byte for byte as it came: never what a parser has made of it. */
  body: Uint8Array | ArrayBuffer | string;
  headers: HeadersLike;
  /** The endpoint's secret, `whsec_…`; several while one replaces another. */
  secret: string | readonly string[];
  /** How old a webhook may be, and how far ahead a clock, in seconds (300). */
  toleranceSecs?: number;
  /** Now, in milliseconds since 1970. */
  now?: number;
}

/** A webhook that proved to come from the server. */
export interface VerifiedWebhook<T = unknown> {
  /** The same for every try of the same delivery: what a handler remembers to do it once. */
  id: string;
  timestamp: Date;
  /** The body, parsed. */
  payload: T;
}

/** Why a webhook is not to be believed. */
export type WebhookProblem = 'header_missing' | 'timestamp_invalid' | 'timestamp_too_old' | 'timestamp_too_new' | 'signature_wrong' | 'body_not_json';

/** The webhook is not to be believed: answer 401 and do nothing. */
export class WebhookVerificationError extends MainstayError {
  override name = 'WebhookVerificationError';
  readonly reason: WebhookProblem;

  constructor(reason: WebhookProblem, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Verifies a webhook that is signed as Standard Webhooks asks; throws `WebhookVerificationError` where it is not genuine. */
export function verifyWebhook<T = unknown>(options: VerifyOptions): VerifiedWebhook<T> {
  const id = header(options.headers, 'webhook-id');
  const at = header(options.headers, 'webhook-timestamp');
  const given = header(options.headers, 'webhook-signature');
  const body = bytes(options.body);
  const timestamp = fresh(at, options.now ?? Date.now(), options.toleranceSecs ?? 300);
  const keys = secrets(options.secret);
  const signed = Buffer.concat([Buffer.from(`${id}.${at}.`, 'utf8'), body]);
  const expected = keys.map((key) => createHmac('sha256', key).update(signed).digest());
  if (!matches(given, expected)) {
    throw new WebhookVerificationError('signature_wrong', 'no signature of the webhook is of one of the secrets');
  }
  return { id, timestamp, payload: parsed<T>(body) };
}

function header(headers: HeadersLike, name: string): string {
  const value = headers instanceof Headers ? headers.get(name) : plain(headers, name);
  if (value === null || value === undefined || value === '') {
    throw new WebhookVerificationError('header_missing', `the header ${name} is missing`);
  }
  return value;
}

function plain(headers: Record<string, string | string[] | undefined>, name: string): string | undefined {
  const found = Object.entries(headers).find(([own]) => own.toLowerCase() === name);
  const value = found?.[1];
  return Array.isArray(value) ? value.join(' ') : value;
}

function bytes(body: VerifyOptions['body']): Buffer {
  if (typeof body === 'string') return Buffer.from(body, 'utf8');
  if (body instanceof Uint8Array) return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (body instanceof ArrayBuffer) return Buffer.from(body);
  throw new MainstayError('the body must be the raw bytes or text of the request, not what a parser has made of it');
}

function fresh(text: string, nowMs: number, toleranceSecs: number): Date {
  if (!/^\d{1,12}$/.test(text)) {
    throw new WebhookVerificationError('timestamp_invalid', 'the timestamp is no number of seconds');
  }
  const at = Number(text);
  const now = Math.floor(nowMs / 1000);
  if (now - at > toleranceSecs) {
    throw new WebhookVerificationError('timestamp_too_old', `the webhook was signed ${now - at} seconds ago`);
  }
  if (at - now > toleranceSecs) {
    throw new WebhookVerificationError('timestamp_too_new', `the webhook is signed ${at - now} seconds ahead of this clock`);
  }
  return new Date(at * 1000);
}

function secrets(given: string | readonly string[]): Buffer[] {
  const all = typeof given === 'string' ? [given] : given;
  if (all.length === 0) throw new MainstayError('secret is missing: the one that the endpoint shows');
  return all.map((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    if (key.length === 0) throw new MainstayError('a secret is empty or no base64');
    return key;
  });
}

/** Compares every signature with every secret's, each in constant time, and stops at none. */
function matches(given: string, expected: Buffer[]): boolean {
  let found = false;
  for (const part of given.split(' ')) {
    const [version, text] = part.split(',', 2);
    if (version !== 'v1' || text === undefined) continue;
    const signature = Buffer.from(text, 'base64');
    for (const own of expected) {
      if (signature.length === own.length && timingSafeEqual(signature, own)) found = true;
    }
  }
  return found;
}

function parsed<T>(body: Buffer): T {
  try {
    return JSON.parse(body.toString('utf8')) as T;
  } catch {
    throw new WebhookVerificationError('body_not_json', 'the webhook is genuine, but its body is no JSON');
  }
}
