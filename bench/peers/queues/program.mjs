// What every queue's program is: a process that the runner starts, that says when it is ready, begins when it is told to,
// and tells how far it is.
//
//   PEER_URL=postgres://… node graphile-worker.mjs install
//   PEER_URL=… PEER_JOBS=100000 node graphile-worker.mjs enqueue
//   PEER_URL=… node graphile-worker.mjs drain
//
// `enqueue` and `drain` print {"ready":true}, read the line `go`, and print {"handled":n} as n grows; `enqueue` ends when
// its jobs are committed, `drain` on the line `stop`. An end of the input ends them as well.
import { createInterface } from "node:readline";

/** A hundred bytes of JSON, the same for every queue. */
export const PAYLOAD = { note: "x".repeat(100 - JSON.stringify({ note: "" }).length) };

/** The address of the database. */
export const url = process.env.PEER_URL;
/** How many jobs this process hands in. */
const jobs = Number(process.env.PEER_JOBS ?? 0);
/** How often it is said how many were handled. */
const TELL_MS = 10;

const say = (what) => console.log(JSON.stringify(what));

/** Splits what is to be handed in into pieces of at most `size`; calls `hand` with the size of each, so many at a time. */
export async function inPieces(count, size, atOnce, hand) {
  let left = count;
  const lane = async () => {
    while (left > 0) {
      const some = Math.min(size, left);
      left -= some;
      await hand(some);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

/**
 * Runs what was asked for. `install()` makes the tables. `enqueue()` connects and answers a function that hands in so many
 * jobs. `drain(handled)` connects and answers `{ start, stop }`; `handled(n)` is called for jobs that were carried out.
 */
export async function program({ install, enqueue, drain }) {
  const role = process.argv[2];
  if (role === "install") return install();
  const words = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const word = async (wanted) => {
    const { value, done } = await words.next();
    if (done || value !== wanted) throw new Error(`${wanted} was expected, not ${value}`);
  };
  if (role === "enqueue") {
    const hand = await enqueue();
    say({ ready: true });
    await word("go");
    await hand(jobs);
    say({ handled: jobs });
    process.exit(0);
  }
  if (role !== "drain") throw new Error("usage: install | enqueue | drain");
  let handled = 0;
  let told = 0;
  const worker = await drain((count) => { handled += count; });
  say({ ready: true });
  await word("go");
  setInterval(() => {
    if (handled === told) return;
    told = handled;
    say({ handled });
  }, TELL_MS);
  await worker.start();
  await word("stop");
  // Everything is carried out and committed by now; what a graceful end of each queue takes is not measured.
  process.exit(0);
}
