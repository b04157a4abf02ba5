// Graphile Worker as its page on performance sets it (https://worker.graphile.org/docs/performance): a local queue, so that
// hundreds of jobs are fetched at once, and completion in batches without a delay. Jobs are added with `addJobs`.
import { Logger, makeWorkerUtils, run, runMigrations } from "graphile-worker";
import { PAYLOAD, inPieces, program, url } from "./program.mjs";

// A line of its log for each job would be measured with it.
const logger = new Logger(() => () => {});
/** Larger than in its own measurement (24, of a queue of 500): faster here. */
const CONCURRENT = 100;

program({
  install: () => runMigrations({ connectionString: url, logger }),
  async enqueue() {
    const utils = await makeWorkerUtils({ connectionString: url, logger });
    await utils.withPgClient((client) => client.query("SELECT 1"));
    const spec = { identifier: "noop", payload: PAYLOAD };
    return (count) => inPieces(count, 10_000, 2, (some) => utils.addJobs(Array(some).fill(spec)));
  },
  async drain(handled) {
    let runner;
    const start = async () => {
      runner = await run({
        preset: {
          worker: {
            connectionString: url,
            concurrentJobs: CONCURRENT,
            maxPoolSize: CONCURRENT + 1,
            localQueue: { size: 1_000 },
            completeJobBatchDelay: 0,
            failJobBatchDelay: 0,
          },
        },
        logger,
        noHandleSignals: true,
        crontab: "",
        taskList: { noop: () => handled(1) },
      });
      runner.promise.catch((error) => { throw error; });
    };
    return { start };
  },
});
