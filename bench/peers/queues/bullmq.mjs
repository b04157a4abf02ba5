// BullMQ on Redis as its guide sets it: `addBulk` (https://docs.bullmq.io/guide/queues/adding-bulks), a concurrency between
// 100 and 300 (https://docs.bullmq.io/guide/parallelism-and-concurrency), jobs removed once they are done
// (https://docs.bullmq.io/guide/queues/auto-removal-of-jobs).
import { Queue, Worker } from "bullmq";
import Redis from "ioredis";
import { PAYLOAD, inPieces, program, url } from "./program.mjs";

const QUEUE = "noop";
const connect = () => new Redis(url, { maxRetriesPerRequest: null });

program({
  async install() {},
  async enqueue() {
    const queue = new Queue(QUEUE, { connection: connect(), defaultJobOptions: { removeOnComplete: true } });
    await queue.waitUntilReady();
    const job = { name: "noop", data: PAYLOAD };
    return (count) => inPieces(count, 1_000, 4, (some) => queue.addBulk(Array(some).fill(job)));
  },
  async drain(handled) {
    const worker = new Worker(QUEUE, async () => handled(1), {
      connection: connect(),
      concurrency: 100,
      autorun: false,
    });
    worker.on("error", (error) => { throw error; });
    await worker.waitUntilReady();
    return {
      async start() {
        worker.run().catch((error) => { throw error; });
      },
    };
  },
});
