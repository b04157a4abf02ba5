import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AccessError,
  ConflictError,
  Mainstay,
  NotFoundError,
  ProblemError,
  RateLimitedError,
  UnavailableError,
  UnreachableError,
  ValidationError,
} from '../dist/index.js';
import { fake, problem } from './fake.mjs';

test('a job is submitted with what was said and nothing else', async () => {
  const server = await fake(() => ({ status: 201, json: { id: 'job_1' } }));
  const runAt = new Date('2030-01-02T03:04:05.678Z');
  const job = await server.mainstay.enqueue({ kind: 'a.kind', queue: 'team', payload: { n: 1 }, runAt, tenantId: 'ten_1', orderingKey: 'k', onDead: 'continue', unique: { key: 'november' }, deadline: new Date('2030-01-02T03:14:05.678Z') });
  assert.equal(job.id, 'job_1');
  await server.mainstay.enqueue({ kind: 'b', expiresInSecs: 600 });
  const [first, second] = server.requests;
  assert.deepEqual(first.body, {
    kind: 'a.kind',
    queue: 'team',
    payload: { n: 1 },
    tenant_id: 'ten_1',
    run_at: '2030-01-02T03:04:05.678Z',
    ordering_key: 'k',
    on_dead: 'continue',
    unique: { key: 'november' },
    deadline: '2030-01-02T03:14:05.678Z',
  });
  assert.deepEqual(second.body, { kind: 'b', expires_in_secs: 600 });
  assert.equal(first.headers.authorization, 'Bearer msk_test');
  assert.notEqual(first.headers['idempotency-key'], second.headers['idempotency-key']);
  await server.close();
});

test('a submission is repeated with the same key while the server is away', async () => {
  const answers = ['reset', problem(503, 'store_unavailable'), { status: 201, json: { items: [{ id: 'job_1' }, { id: 'job_2' }] } }];
  const server = await fake((_, count) => answers[count - 1]);
  const ids = await server.mainstay.enqueueMany([{ kind: 'a', queue: 'q' }, { kind: 'b', queue: 'q' }]);
  assert.deepEqual(ids, ['job_1', 'job_2']);
  const keys = new Set(server.requests.map((one) => one.headers['idempotency-key']));
  assert.equal(server.requests.length, 3);
  assert.equal(keys.size, 1);
  await server.close();
});

test('what the server refuses is not repeated, and is an error of its own class', async () => {
  for (const [status, kind] of [
    [400, ValidationError],
    [401, AccessError],
    [403, AccessError],
    [404, NotFoundError],
    [409, ConflictError],
    [429, RateLimitedError],
  ]) {
    const server = await fake(() => problem(status, 'a_code', { 'retry-after': '7' }));
    await assert.rejects(server.mainstay.enqueue({ kind: 'a' }), (error) => {
      assert.ok(error instanceof kind && error instanceof ProblemError);
      assert.deepEqual([error.code, error.status, error.retryAfterSecs], ['a_code', status, 7]);
      return true;
    });
    assert.equal(server.requests.length, 1, `${status}`);
    await server.close();
  }
});

test('wrong fields are named', async () => {
  const errors = [{ pointer: '/queue', detail: 'must be given' }];
  const server = await fake(() => ({ status: 400, json: { ...problem(400, 'validation_failed').json, errors } }));
  await assert.rejects(server.mainstay.enqueue({ kind: 'a' }), (error) => {
    assert.deepEqual(error.fields, errors);
    return true;
  });
  await server.close();
});

test('what is no answer of ours is an error, and never a success', async () => {
  const server = await fake(() => ({ status: 502, json: '<html>bad gateway</html>' }));
  await assert.rejects(server.mainstay.call('GET', '/v1/health'), (error) => {
    assert.ok(error instanceof UnavailableError);
    assert.equal(error.code, 'unexpected_answer');
    return true;
  });
  await server.close();
  await assert.rejects(server.mainstay.call('GET', '/v1/health'), UnreachableError);
});

test('a caller that gives up gets its own reason', async () => {
  const server = await fake(() => 'hang');
  const abort = new AbortController();
  const asked = server.mainstay.enqueue({ kind: 'a' }, { signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(asked, /enough/);
  await assert.rejects(server.mainstay.call('GET', '/slow', undefined, { timeoutMs: 50 }), UnreachableError);
  await server.close();
});

test('without an address or a key nothing is begun', () => {
  assert.throws(() => new Mainstay({ url: '', key: 'a' }), /url/);
  assert.throws(() => new Mainstay({ url: 'http://a', key: '' }), /key/);
});
