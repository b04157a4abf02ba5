// Jobs handed in by `mainstay.enqueue` in SQL, in transactions of the program's own: what the other queues on PostgreSQL do.
// An engine in a process of its own carries them out: `mainstay bench noop`.
import pg from "pg";
import { PAYLOAD, inPieces, program, url } from "./program.mjs";

const AT_ONCE = 2;

program({
  async enqueue() {
    const pool = new pg.Pool({ connectionString: url, max: AT_ONCE });
    const enqueue = (some) => pool.query({
      name: "enqueue",
      text: `SELECT count(mainstay.enqueue(queue => 'default', kind => 'noop', payload => one))
             FROM unnest($1::jsonb[]) AS one`,
      values: [Array(some).fill(JSON.stringify(PAYLOAD))],
    });
    await Promise.all(Array.from({ length: AT_ONCE }, () => pool.query("SELECT 1")));
    return (count) => inPieces(count, 10_000, AT_ONCE, enqueue);
  },
});
