import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AccessError, JobFailure, Release, Snooze } from '../dist/index.js';
import { fake, problem } from './fake.mjs';

function job(n, more = {}) {
  return {
    token: `token-${n}`, id: `job_${n}`, tenant_id: 'ten_1', queue: 'q', kind: 'a.kind', payload: { n },
    attempt: 1, tries: 1, lease_secs: 5, created_at: '2030-01-02T03:04:05Z', ...more,
  };
}

/** A server with these jobs in its queue. */
function queue(jobs, { report = () => ({ json: { outcomes: [] } }), beat, heartbeat } = {}) {
  const told = [];
  const beats = [];
  return fake(async (asked, count, request) => {
    if (asked.path === '/v1/workers/pull') {
      if (jobs.length === 0 && asked.body.wait_secs > 0) {
        // As long as somebody waits.
        await new Promise((resolve) => request.socket.once('close', resolve));
        return 'hang';
      }
      return { json: { jobs: jobs.splice(0, asked.body.max), outcomes: [] } };
    }
    if (asked.path === '/v1/workers/heartbeat') {
      const refused = heartbeat?.(asked);
      if (refused) return refused;
      beats.push(...asked.body.beats);
      const state = (one) => beat?.(one, beats) ?? 'held';
      return { json: { beats: asked.body.beats.map((one) => ({ token: one.token, state: state(one) })) } };
    }
    const answer = report(asked, told);
    if (answer.status === undefined) told.push(...asked.body.outcomes);
    return answer;
  }).then((server) => Object.assign(server, { told, beats }));
}

test('each job is carried out and what came of it is told', async () => {
  const server = await queue([job(1), job(2), job(3)]);
  const seen = [];
  const worker = server.mainstay.worker({
    queue: ['q', 'other'],
    concurrency: 2,
    name: 'w',
    handler: async (one) => {
      seen.push([one.id, one.payload, one.attempt, one.createdAt.getTime()]);
      return one.payload.n === 2 ? undefined : { twice: one.payload.n * 2 };
    },
  });
  assert.equal(await worker.drain(), 3);
  assert.equal(seen.length, 3);
  assert.deepEqual(seen[0], ['job_1', { n: 1 }, 1, Date.parse('2030-01-02T03:04:05Z')]);
  const told = server.told.sort((one, other) => one.token.localeCompare(other.token));
  assert.deepEqual(told, [
    { token: 'token-1', outcome: 'completed', result: { twice: 2 } },
    { token: 'token-2', outcome: 'completed' },
    { token: 'token-3', outcome: 'completed', result: { twice: 6 } },
  ]);
  const pulls = server.requests.filter((one) => one.path === '/v1/workers/pull').map((one) => one.body);
  assert.deepEqual(pulls[0], { worker: 'w', queues: ['q', 'other'], max: 2, lease_secs: 30, wait_secs: 0 });
  await server.close();
});

test('what a handler throws decides what becomes of the job', async () => {
  const server = await queue([1, 2, 3, 4, 5].map((n) => job(n)));
  const thrown = {
    1: new Error('it broke\nhere'),
    2: new JobFailure('the card is declined', { category: 'validation', code: 'declined', retryable: false, retryAfterSecs: 5 }),
    3: new Snooze(60, 'no paper'),
    4: new Release(),
    5: 'a text',
  };
  const worker = server.mainstay.worker({ queue: 'q', handler: (one) => { throw thrown[one.payload.n]; } });
  await worker.drain();
  assert.deepEqual(server.told, [
    { token: 'token-1', outcome: 'failed', failure: { message: 'it broke here' } },
    {
      token: 'token-2', outcome: 'failed',
      failure: { message: 'the card is declined', category: 'validation', code: 'declined', retry_after_secs: 5, retryable: false },
    },
    { token: 'token-3', outcome: 'snoozed', delay_secs: 60, reason: 'no paper' },
    { token: 'token-4', outcome: 'released' },
    { token: 'token-5', outcome: 'failed', failure: { message: 'a text' } },
  ]);
  await server.close();
});

test('an outcome is told again until it is recorded', async () => {
  const answers = ['reset', problem(503, 'owner_starting', { 'retry-after': '0' }), { json: { outcomes: [] } }];
  const tries = [];
  const server = await queue([job(1)], {
    report: (asked) => {
      tries.push(asked.body.outcomes);
      const answer = answers[tries.length - 1];
      return answer === 'reset' ? problem(500, 'internal') : answer;
    },
  });
  await server.mainstay.worker({ queue: 'q', handler: () => 7 }).drain();
  assert.equal(tries.length, 3);
  assert.deepEqual(tries[0], tries[2]);
  await server.close();
});

test('an outcome that another node refused is told again at once, however often', async () => {
  const answers = ['not_the_owner', 'owner_starting', 'not_the_owner', 'not_the_owner'];
  const server = await queue([job(1)], {
    report: () => (answers.length > 0 ? problem(503, answers.shift(), { 'retry-after': '1' }) : { json: { outcomes: [] } }),
  });
  const began = performance.now();
  await server.mainstay.worker({ queue: 'q', handler: () => 7 }).drain();
  const took = performance.now() - began;
  assert.ok(took < 2_000, `${took} ms`);
  await server.close();
});

test('an outcome that counts for nothing is not told again', async () => {
  const events = [];
  const server = await queue([job(1)], { report: () => problem(409, 'lease_ended') });
  await server.mainstay.worker({ queue: 'q', handler: () => 7, onEvent: (event) => events.push(event) }).drain();
  assert.deepEqual(events, [{ type: 'done', job: 'job_1', recorded: false }]);
  assert.equal(server.requests.filter((one) => one.path === '/v1/workers/report').length, 1);
  await server.close();
});

test('a job that was cancelled or is in other hands is aborted, and nothing is told of it', async () => {
  for (const [state, why] of [['cancelled', 'cancelled'], ['ended', 'lost']]) {
    const server = await queue([job(1)], { beat: () => state });
    let reason;
    const worker = server.mainstay.worker({
      queue: 'q',
      leaseSecs: 5,
      handler: (one) => new Promise((_, reject) => {
        one.signal.addEventListener('abort', () => {
          reason = one.signal.reason.why;
          reject(one.signal.reason);
        });
      }),
    });
    await worker.drain();
    assert.equal(reason, why);
    assert.equal(server.told.length, 0);
    await server.close();
  }
});

test('progress goes with the signs of life, the last one before the outcome', async () => {
  const server = await queue([job(1)]);
  const worker = server.mainstay.worker({
    queue: 'q',
    handler: (one) => {
      one.progress({ percent: 12.6, note: 'be\ngun' });
      one.progress({ percent: 140 });
    },
  });
  await worker.drain();
  assert.deepEqual(server.beats, [{ token: 'token-1', progress: { percent: 100 } }]);
  await server.close();
});

test('a sign of life that another node refused is given again before the next is due', async () => {
  const refusals = ['not_the_owner', 'owner_starting', 'not_the_owner'];
  const seen = [];
  let held;
  const answered = new Promise((resolve) => { held = resolve; });
  const server = await queue([job(1)], {
    heartbeat: () => {
      seen.push(performance.now());
      if (refusals.length > 0) return problem(503, refusals.shift(), { 'retry-after': '1' });
      held();
      return undefined;
    },
  });
  await server.mainstay.worker({ queue: 'q', leaseSecs: 6, handler: () => answered }).drain();
  assert.equal(seen.length, 4);
  const took = seen.at(-1) - seen[0];
  assert.ok(took < 1_800, `${took} ms`);
  await server.close();
});

test('signs of life are given until the outcome is told', async () => {
  const events = [];
  const server = await queue([job(1)], {
    beat: () => 'ended',
    report: () => (server.beats.length === 0 ? problem(500, 'internal') : { json: { outcomes: [] } }),
  });
  const worker = server.mainstay.worker({ queue: 'q', leaseSecs: 5, handler: () => 7, onEvent: (event) => events.push(event.type) });
  await worker.drain();
  assert.deepEqual(server.beats, [{ token: 'token-1' }]);
  // Whether the outcome counts is said by the answer to it, and by nothing else.
  assert.deepEqual(server.told, [{ token: 'token-1', outcome: 'completed', result: 7 }]);
  assert.equal(events.at(-1), 'done');
  assert.ok(!events.includes('lost'));
  await server.close();
});

test('a worker that drains looks for the owner of the jobs', async () => {
  const refusals = ['not_the_owner', 'owner_starting'];
  const jobs = [job(1)];
  const server = await fake((request) => {
    if (request.path !== '/v1/workers/pull') return { json: { outcomes: [] } };
    if (refusals.length > 0) return problem(503, refusals.shift(), { 'retry-after': '1' });
    return { json: { jobs: jobs.splice(0), outcomes: [] } };
  });
  assert.equal(await server.mainstay.worker({ queue: 'q', handler: () => 7 }).drain(), 1);
  await server.close();
});

test('a worker that is stopped finishes what it has, and takes nothing more', async () => {
  const server = await queue([job(1), job(2)]);
  let begun;
  let finish;
  const started = new Promise((resolve) => { begun = resolve; });
  const worker = server.mainstay.worker({
    queue: 'q',
    handler: () => new Promise((resolve) => {
      finish = resolve;
      begun();
    }),
  }).start();
  await started;
  const stopped = worker.stop();
  finish('done');
  await stopped;
  assert.deepEqual(server.told, [{ token: 'token-1', outcome: 'completed', result: 'done' }]);
  await server.close();
});

test('one that is stopped for good gives back what still runs', async () => {
  const server = await queue([job(1)]);
  let begun;
  const started = new Promise((resolve) => { begun = resolve; });
  const worker = server.mainstay.worker({
    queue: 'q',
    handler: (one) => new Promise((_, reject) => {
      one.signal.addEventListener('abort', () => reject(one.signal.reason));
      begun();
    }),
  }).start();
  await started;
  await worker.stop({ graceMs: 1 });
  assert.deepEqual(server.told, [{ token: 'token-1', outcome: 'released', reason: 'the worker was stopped' }]);
  await server.close();
});

test('a server that is away is asked again; one that says no is not', async () => {
  let asked = 0;
  const away = [];
  const pauses = [];
  const jobs = [job(1)];
  const server = await fake((request) => {
    if (request.path !== '/v1/workers/pull') return { json: { outcomes: [], beats: [] } };
    asked += 1;
    if (asked === 1) return problem(503, 'store_unavailable', { 'retry-after': '0' });
    if (asked === 2) return problem(503, 'not_the_owner', { 'retry-after': '1' });
    return jobs.length > 0 ? { json: { jobs: jobs.splice(0), outcomes: [] } } : problem(403, 'role_forbidden');
  });
  let done = 0;
  const worker = server.mainstay.worker({
    queue: 'q',
    handler: () => { done += 1; },
    onEvent: (event) => {
      away.push(event.type);
      if (event.type === 'away') pauses.push(event.pauseMs);
    },
  }).start();
  await assert.rejects(worker.finished(), AccessError);
  await worker.stop();
  assert.equal(done, 1);
  assert.deepEqual(away.filter((type) => type !== 'done'), ['away', 'away', 'back']);
  assert.deepEqual(pauses, [250, 500], 'what another node asks for is not waited for');
  await server.close();
});

test('what makes no sense is refused before anything is asked', async () => {
  const server = await queue([]);
  assert.throws(() => server.mainstay.worker({ queue: 'q', handler() {}, concurrency: 0 }), /concurrency/);
  assert.throws(() => server.mainstay.worker({ queue: 'q', handler() {}, leaseSecs: 1 }), /leaseSecs/);
  await server.close();
});
