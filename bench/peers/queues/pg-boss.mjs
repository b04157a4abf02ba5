// pg-boss as its pages on jobs and workers set it (https://pgboss.io/api/workers): `insert` for many jobs at once, workers
// that fetch in batches and fetch again at once while batches come back full (`burstWhenBatchFull`), two beside each other.
import { PgBoss } from "pg-boss";
import { PAYLOAD, inPieces, program, url } from "./program.mjs";

const QUEUE = "noop";

async function boss(options = {}) {
  // Its default pool is 10 connections.
  const made = new PgBoss({ connectionString: url, schedule: false, ...options });
  made.on("error", (error) => { throw error; });
  await made.start();
  return made;
}

program({
  async install() {
    const made = await boss();
    await made.createQueue(QUEUE);
    await made.stop({ graceful: false });
  },
  async enqueue() {
    const made = await boss();
    await made.getQueue(QUEUE);
    return (count) => inPieces(count, 10_000, 2, (some) => made.insert(QUEUE, Array(some).fill({ data: PAYLOAD })));
  },
  async drain(handled) {
    const made = await boss();
    const options = {
      batchSize: 1_000,
      localConcurrency: 2,
      burstWhenBatchFull: true,
      pollingIntervalSeconds: 0.5,
    };
    return { start: () => made.work(QUEUE, options, async (jobs) => handled(jobs.length)) };
  },
});
