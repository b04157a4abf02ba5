// The package as it is published, in somebody's project, against the real server.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Mainstay } from '../../dist/index.js';
import { Program, Server, project } from './server.mjs';

const server = new Server();
let scratch;
let mainstay;

before(async () => {
  scratch = project();
  await server.start();
  mainstay = new Mainstay({ url: server.url, key: server.key });
}, { timeout: 180_000 });

after(async () => {
  await server.remove();
  scratch.remove();
});

const WORKER = `
import { Mainstay } from '@mainstay/sdk';

const mainstay = new Mainstay({ url: process.env.MAINSTAY_URL, key: process.env.MAINSTAY_KEY });
const say = (what) => console.log(JSON.stringify(what));
const worker = mainstay.worker({
  queue: process.env.QUEUE,
  concurrency: 6,
  leaseSecs: 5,
  handler: async (job) => {
    say({ began: job.id, attempt: job.attempt });
    job.progress({ percent: 50, note: 'half of it' });
    await new Promise((resolve) => setTimeout(resolve, job.payload.takesMs));
    return { twice: job.payload.n * 2 };
  },
  onEvent: (event) => say({ event: event.type, job: event.job, recorded: event.recorded }),
});
worker.start();
process.once('SIGTERM', async () => {
  await worker.stop();
  say({ stopped: worker.inHand });
});
await worker.finished();
`;

function work(queue) {
  const file = join(scratch.at, 'worker.mjs');
  writeFileSync(file, WORKER);
  return new Program(scratch.at, file, { MAINSTAY_URL: server.url, MAINSTAY_KEY: server.key, QUEUE: queue });
}

const began = (line) => line.began !== undefined;
const recorded = (line) => line.event === 'done' && line.recorded;

function jobs(queue, count) {
  return Array.from({ length: count }, (_, n) => ({ kind: 'number.double', queue, payload: { n, takesMs: 150 } }));
}

/** Everything is done, with its result, and nothing is left hanging. */
async function allDone(ids) {
  for (const [n, id] of ids.entries()) {
    const job = await mainstay.job(id);
    assert.equal(job.state, 'done', JSON.stringify(job));
    const last = job.attempts_list.at(-1);
    assert.deepEqual(last.result, { twice: n * 2 });
    assert.equal(job.attempts_list.filter((one) => one.outcome === 'succeeded').length, 1);
  }
}

async function until(look) {
  while (!(await look())) await new Promise((resolve) => setTimeout(resolve, 100));
}

async function counts(queue) {
  const all = await mainstay.call('GET', '/v1/job-counts');
  return all.queues[queue];
}

test('a worker goes on when the server is killed, and nothing is lost or left hanging', { timeout: 180_000 }, async () => {
  const ids = await mainstay.enqueueMany(jobs('survive', 40));
  const worker = work('survive');
  await worker.seen(10, began);
  await server.kill();
  await server.start();
  await until(async () => (await counts('survive'))?.completed === 40);
  assert.equal(await worker.end('SIGTERM'), 0);
  assert.deepEqual(worker.lines.at(-1), { stopped: 0 });
  await allDone(ids);
  const left = await counts('survive');
  assert.deepEqual([left.waiting, left.active, left.retrying, left.failed], [0, 0, 0, 0]);
});

test('what a killed worker had in hand is handed to another', { timeout: 180_000 }, async () => {
  const ids = await mainstay.enqueueMany(jobs('replace', 20));
  const first = work('replace');
  await first.seen(8, began);
  await first.end('SIGKILL');
  const second = work('replace');
  await until(async () => (await counts('replace'))?.completed === 20);
  await second.end('SIGTERM');
  await allDone(ids);
  const again = second.lines.filter((line) => began(line) && line.attempt > 1);
  assert.ok(again.length > 0, 'some were in hand');
});

test('a worker that is asked to stop finishes what it has', { timeout: 60_000 }, async () => {
  const ids = await mainstay.enqueueMany(jobs('stop', 4));
  const worker = work('stop');
  await worker.seen(4, began);
  assert.equal(await worker.end('SIGTERM'), 0);
  assert.equal(worker.lines.filter(recorded).length, 4);
  await allDone(ids);
  const job = await mainstay.job(ids[0]);
  assert.deepEqual(job.attempts_list[0].progress, { percent: 50, note: 'half of it' });
});

test('the command line works as well as the package', { timeout: 120_000 }, async () => {
  const ids = await mainstay.enqueueMany([1, 2, 3].map((n) => ({ kind: 'text.count', queue: 'commands', payload: `${n}` })));
  const wrong = await mainstay.enqueue({ kind: 'text.count', queue: 'commands', payload: 'wrong' });
  const count = 'read text; case "$text" in *wrong*) exit 65;; esac; printf \'{"kind":"%s","bytes":%d}\' "$MAINSTAY_JOB_KIND" ${#text}';
  const ran = server.run(['worker', 'run', '--queue', 'commands', '--concurrency', '2', '--once', '--', 'sh', '-c', count]);
  assert.equal(ran.status, 0, ran.stderr);
  for (const id of ids) {
    const job = await mainstay.job(id);
    assert.equal(job.state, 'done', ran.stderr);
    assert.deepEqual(job.attempts_list[0].result, { kind: 'text.count', bytes: 3 });
  }
  const failed = await mainstay.job(wrong.id);
  assert.deepEqual([failed.state, failed.attempts_list[0].code], ['dead', 'exit_65']);
  const listed = server.run(['worker', 'list']);
  assert.match(listed.stdout, /commands/);
});

test('its types hold for whoever compiles against them', { timeout: 120_000 }, () => {
  const file = join(scratch.at, 'typed.ts');
  writeFileSync(file, `
import { JobFailure, Mainstay, verifyWebhook, type WorkerJob } from '@mainstay/sdk';

const mainstay = new Mainstay({ url: 'http://localhost', key: 'msk_' });
export const worker = mainstay.worker({
  queue: 'q',
  handler: async (job: WorkerJob<{ to: string }>) => {
    if (job.signal.aborted) throw new JobFailure('gone', { category: 'timeout' });
    return { sent: job.payload.to };
  },
});
export const id: Promise<string> = mainstay.enqueue({ kind: 'a', queue: 'q', payload: { to: 'you' } }).then((job) => job.id);
export const amount: number = verifyWebhook<{ amount: number }>({ body: '', headers: {}, secret: 's' }).payload.amount;
// @ts-expect-error: there is no such option.
mainstay.worker({ queue: 'q', handler: () => 1, concurency: 2 });
`);
  const compiler = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));
  const args = [compiler, '--noEmit', '--strict', '--module', 'NodeNext', '--target', 'ES2022', '--lib', 'ES2023,DOM', file];
  const ran = spawnSync(process.execPath, args, { cwd: scratch.at, encoding: 'utf8' });
  assert.equal(ran.status, 0, ran.stdout);
});
