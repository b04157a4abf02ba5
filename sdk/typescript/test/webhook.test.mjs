import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebhookVerificationError, verifyWebhook } from '../dist/index.js';

const SECRET = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD';
const OTHER = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const NOW = 1_790_000_000_000;
const BODY = '{"amount":4200,"note":"grün ✓"}';

/** Signed by another implementation than the one that is tested. */
async function signed(secret, { id = 'msg_1', at = NOW / 1000, body = BODY } = {}) {
  const raw = Uint8Array.from(atob(secret.slice(6)), (one) => one.charCodeAt(0));
  const key = await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const bytes = await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(`${id}.${at}.${body}`));
  const signature = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return { 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': `v1,${signature}` };
}

function refused(options, reason) {
  assert.throws(
    () => verifyWebhook({ secret: SECRET, now: NOW, body: BODY, ...options }),
    (error) => error instanceof WebhookVerificationError && error.reason === reason,
    reason,
  );
}

test('a genuine webhook is read, whatever its body and headers come as', async () => {
  const headers = await signed(SECRET);
  const bytes = new TextEncoder().encode(BODY);
  const shouted = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toUpperCase(), [value]]));
  // A view into a larger buffer, as servers hand them out.
  const view = new Uint8Array([1, 2, ...bytes, 3]).subarray(2, 2 + bytes.length);
  for (const given of [BODY, bytes, Buffer.from(BODY), bytes.buffer, view]) {
    for (const all of [headers, shouted, new Headers(headers)]) {
      const webhook = verifyWebhook({ secret: SECRET, now: NOW, body: given, headers: all });
      assert.equal(webhook.id, 'msg_1');
      assert.equal(webhook.timestamp.getTime(), NOW);
      assert.deepEqual(webhook.payload, JSON.parse(BODY));
    }
  }
});

test('one of several secrets and one of several signatures is enough', async () => {
  const headers = await signed(OTHER);
  const webhook = verifyWebhook({ secret: [SECRET, OTHER], now: NOW, body: BODY, headers });
  assert.equal(webhook.id, 'msg_1');
  const both = { ...headers, 'webhook-signature': `v1,AAAA v2,${'A'.repeat(44)} ${headers['webhook-signature']}` };
  assert.equal(verifyWebhook({ secret: [SECRET, OTHER], now: NOW, body: BODY, headers: both }).id, 'msg_1');
});

test('what was changed, signed by another, or has no signature is refused', async () => {
  const headers = await signed(SECRET);
  refused({ headers, body: BODY.replace('4200', '4201') }, 'signature_wrong');
  refused({ headers: { ...headers, 'webhook-id': 'msg_2' } }, 'signature_wrong');
  refused({ headers: await signed(OTHER) }, 'signature_wrong');
  refused({ headers: { ...headers, 'webhook-signature': headers['webhook-signature'].replace('v1,', 'v1a,') } }, 'signature_wrong');
  refused({ headers: { ...headers, 'webhook-signature': 'v1,' } }, 'signature_wrong');
  for (const name of Object.keys(headers)) {
    const { [name]: _, ...rest } = headers;
    refused({ headers: rest }, 'header_missing');
  }
});

test('what is too old or ahead of time is refused, at the second', async () => {
  const at = NOW / 1000;
  refused({ headers: await signed(SECRET, { at: at - 301 }) }, 'timestamp_too_old');
  refused({ headers: await signed(SECRET, { at: at + 301 }) }, 'timestamp_too_new');
  refused({ headers: await signed(SECRET, { at: '1e9' }) }, 'timestamp_invalid');
  for (const edge of [at - 300, at + 300]) {
    const headers = await signed(SECRET, { at: edge });
    assert.equal(verifyWebhook({ secret: SECRET, now: NOW, body: BODY, headers }).id, 'msg_1');
  }
});

test('a parsed body and an empty secret are mistakes that are named', async () => {
  const headers = await signed(SECRET);
  assert.throws(() => verifyWebhook({ secret: SECRET, now: NOW, body: JSON.parse(BODY), headers }), /raw bytes/);
  assert.throws(() => verifyWebhook({ secret: '', now: NOW, body: BODY, headers }), /secret/);
  assert.throws(() => verifyWebhook({ secret: [], now: NOW, body: BODY, headers }), /secret/);
  refused({ headers: await signed(SECRET, { body: 'no json' }), body: 'no json' }, 'body_not_json');
});
