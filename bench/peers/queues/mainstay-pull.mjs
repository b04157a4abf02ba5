// Jobs handed in through the API (`POST /v1/jobs/bulk`), and pulled by workers of the package for TypeScript: each job goes to
// another process over HTTP, under a lease, and so does its outcome.
import { Mainstay } from "../../../sdk/typescript/dist/index.js";
import { PAYLOAD, inPieces, program } from "./program.mjs";

const QUEUE = "pulled";
/** The most that one worker takes, and how many of them a process has. */
const CONCURRENCY = 100;
const WORKERS = 4;

const mainstay = () => new Mainstay({ url: process.env.MAINSTAY_URL, key: process.env.MAINSTAY_KEY });

program({
  async enqueue() {
    const own = mainstay();
    await own.call("GET", "/v1/health");
    const job = { kind: "nothing", queue: QUEUE, payload: PAYLOAD };
    return (count) => inPieces(count, 1_000, 4, (some) => own.enqueueMany(Array(some).fill(job)));
  },
  async drain(handled) {
    const own = mainstay();
    await own.call("GET", "/v1/health");
    const workers = Array.from({ length: WORKERS }, () =>
      own.worker({ queue: QUEUE, concurrency: CONCURRENCY, handler: () => handled(1) }));
    return {
      async start() {
        for (const worker of workers) worker.start().finished().catch((error) => { throw error; });
      },
    };
  },
});
