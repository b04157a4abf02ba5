// `make bench-peers`: the same jobs through Mainstay and through the queues that teams use today, one after the other on the
// same machine. Each line of standard output is a result; what people read goes to standard error.
//
// JOBS (200000), ROUNDS (1), ONLY (names, by commas), PROCESSES (1,2), LIMIT_SECS for each phase (300). The interpreter
// and the binary that are measured stand in PEERS_PYTHON and PEERS_MAINSTAY: `tools/bench-peers` says how they come about.
import { fileURLToPath } from "node:url";
import { Child } from "./child.mjs";
import { Postgres, RedisServer, pause } from "./ground.mjs";
import { QUEUES } from "./queues.mjs";
import { lines, table, together } from "./verdict.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const JOBS = Number(process.env.JOBS || 200_000);
const ROUNDS = Number(process.env.ROUNDS || 1);
const LIMIT_MS = Number(process.env.LIMIT_SECS || 300) * 1_000;
/** Some make hundreds of tables. */
const INSTALL_MS = 180_000;
const PROCESSES = (process.env.PROCESSES || "1,2").split(",").map(Number);
const only = process.env.ONLY?.split(",");
const chosen = QUEUES.filter(({ name }) => !only || only.includes(name));

const note = (text) => console.error(text);
const now = () => performance.timeOrigin + performance.now();

/** What was started for a measurement: ended with it, however that ends. */
class Run {
  children = [];

  constructor(queue, processes, ground) {
    Object.assign(this, { queue, processes, ground });
  }

  async prepare() {
    const { queue, ground } = this;
    const service = await queue.service?.(ground);
    this.server = service?.server;
    this.env = { PEER_URL: ground.url, PEER_PROCESSES: String(this.processes), ...service?.env };
    if (queue.install) return queue.install(ground);
    const install = this.child("install");
    await install.over(INSTALL_MS);
  }

  child(role, at = 0, jobs = 0) {
    const { command, args } = this.queue.program(role, this.ground);
    const env = { ...this.env, PEER_PROCESS: String(at), PEER_JOBS: String(jobs) };
    const made = new Child(`${this.queue.name} ${role}`, { command, args, env }, HERE);
    this.children.push(made);
    return made;
  }

  /** So many of them, all ready, told to begin at the same moment; answers that moment. */
  async begin(role) {
    const share = (at) => Math.floor((JOBS * (at + 1)) / this.processes) - Math.floor((JOBS * at) / this.processes);
    this.children = [];
    for (let at = 0; at < this.processes; at += 1) this.child(role, at, share(at));
    await Promise.all(this.children.map((child) => child.ready()));
    const begin = now();
    for (const child of this.children) child.go();
    return begin;
  }

  /** Seconds until all jobs are handed in. */
  async enqueue() {
    const begin = await this.begin("enqueue");
    await Promise.all(this.children.map((child) => child.over(LIMIT_MS)));
    const handled = this.children.reduce((sum, child) => sum + child.handled, 0);
    if (handled !== JOBS) throw new Error(`${handled} of ${JOBS} jobs were handed in`);
    return (Math.max(...this.children.map((child) => child.changedAt)) - begin) / 1_000;
  }

  /** Seconds until all jobs are carried out and that is committed, or the time is over; and how many there are. */
  async drain() {
    const begin = await this.begin("drain");
    const until = begin + LIMIT_MS;
    await this.handled(until);
    let left = await this.queue.left(this.ground, JOBS);
    while (left > 0 && now() < until) {
      await pause(2);
      left = await this.queue.left(this.ground, JOBS);
    }
    const end = left === 0 && this.queue.ended ? await this.queue.ended(this.ground) : now();
    if (left === JOBS) throw new Error("no job was carried out");
    const peakMib = [...this.children, this.server].reduce((sum, one) => sum + (one?.peakMib() ?? 0), 0);
    return { drainSecs: (end - begin) / 1_000, done: JOBS - left, peakMib };
  }

  /** Resolves once the processes say that they handled everything, or the time is over. */
  handled(until) {
    return new Promise((resolve, reject) => {
      const late = setTimeout(resolve, until - now());
      const end = (call, value) => {
        clearTimeout(late);
        call(value);
      };
      const look = () => {
        const gone = this.children.find((child) => child.gone);
        if (gone) return end(reject, gone.death());
        if (this.children.reduce((sum, child) => sum + child.handled, 0) >= JOBS) end(resolve);
      };
      for (const child of this.children) child.onChange(look);
      look();
    });
  }

  async end() {
    await Promise.all(this.children.map((child) => child.end()));
    this.children = [];
    await this.server?.stop();
    this.server = undefined;
  }
}

async function measure(queue, processes, ground) {
  const run = new Run(queue, processes, ground);
  try {
    await run.prepare();
    await ground.forget();
    await ground.settle();
    const logs = [await ground.log()];
    const enqueueSecs = await run.enqueue();
    logs.push(await ground.log());
    await ground.settle();
    logs.push(await ground.log());
    const drained = await run.drain();
    logs.push(await ground.log());
    await run.end();
    const { name, database, ours = false, bar = false } = queue;
    return {
      name, version: queue.version(), database, ours, bar, processes, jobs: JOBS, enqueueSecs, ...drained,
      enqueueLog: logs[1] - logs[0], drainLog: logs[3] - logs[2],
      rewritten: await ground.rewritten(), dead: queue.tables ? await ground.rewritten(queue.tables) : null,
    };
  } finally {
    await run.end();
    await ground.end();
  }
}

const grounds = {};
if (chosen.some(({ database }) => database === "postgres")) grounds.postgres = new Postgres();
if (chosen.some(({ database }) => database === "redis")) grounds.redis = await RedisServer.start();

const measured = new Map();
const failed = new Set();
for (let round = 1; round <= ROUNDS; round += 1) {
  for (const queue of chosen) {
    for (const processes of PROCESSES) {
      const what = `${queue.name}, ${processes} ${processes === 1 ? "process" : "processes"}`;
      try {
        const one = await measure(queue, processes, await grounds[queue.database].fresh());
        measured.set(what, [...(measured.get(what) ?? []), one]);
        const [enqueued, drained] = [one.jobs / one.enqueueSecs, one.done / one.drainSecs].map(Math.round);
        note(`round ${round}: ${what}: ${enqueued} enqueued and ${drained} drained in a second`);
      } catch (error) {
        failed.add(what);
        note(`round ${round}: ${what}: NOT MEASURED: ${error.stack}`);
      }
    }
  }
}

const results = [...measured.values()].map(together);
const said = lines(results, chosen.length === QUEUES.length && failed.size === 0);
for (const line of said) console.log(JSON.stringify(line));
note(`\n${JOBS} jobs that do nothing, a payload of 100 bytes; ${ROUNDS === 1 ? "one round" : `medians of ${ROUNDS} rounds`}\n${table(results)}`);
for (const { bench, value, unit, reference, ratio, bar, holds } of said.filter((line) => line.bar !== null)) {
  const beside = reference === null ? "" : `, ${ratio} times the fastest other queue's ${Math.round(reference)}`;
  note(`${bench}: ${value} ${unit}${beside} (bar ${bar}): ${holds === null ? "not judged" : holds ? "holds" : "DOES NOT HOLD"}`);
}
for (const what of failed) note(`${what}: NOT MEASURED`);
process.exit(failed.size > 0 || said.some((line) => line.holds === false) ? 1 : 0);
