// Who is measured, and how each is started. What a queue is set to stands in its program.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Server } from "./server.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const NODE = process.execPath;
const PYTHON = process.env.PEERS_PYTHON;
const BINARY = process.env.PEERS_MAINSTAY;

const installed = (name) => JSON.parse(readFileSync(`${HERE}node_modules/${name}/package.json`, "utf8")).version;
const required = (name) => new RegExp(`^${name}==(\\S+)`, "m").exec(readFileSync(`${HERE}requirements.txt`, "utf8"))[1];
const ran = (command, ...args) => execFileSync(command, args, { encoding: "utf8" });

/** Who runs a queue's program, in one of its roles: `install`, `enqueue`, `drain`. */
const script = (file) => (role) => ({ command: file.endsWith(".py") ? PYTHON : NODE, args: [file, role] });

/** Mainstay's own statement: every job has one attempt, since each of them succeeds. */
const attempts = (ground, jobs) => ground.number(`SELECT ${jobs} - count(*) FROM mainstay.attempt`);

const mainstay = {
  ours: true,
  database: "postgres",
  version: () => ran(BINARY, "--version").trim().replace(/^\S+ /, ""),
  left: attempts,
  /** Where a row stands for a job. */
  tables: ["job", "attempt", "attempt_start"],
};

const served = (name, file, rest) => ({
  ...mainstay,
  ...rest,
  name,
  program: script(file),
  async service(ground) {
    const server = await Server.start(BINARY, ground.url);
    return { server, env: { MAINSTAY_URL: server.url, MAINSTAY_KEY: server.key, PEER_SECRET: "whsec_bench_0123456789abcdef" } };
  },
});

export const QUEUES = [
  {
    ...mainstay,
    name: "mainstay",
    // The bar is about this one: a job that does nothing, done in the process that found it, as in the others.
    bar: true,
    program: (role, ground) =>
      role === "drain"
        ? { command: BINARY, args: ["bench", "noop", "--database", ground.url] }
        : script("mainstay-sql.mjs")(role),
    // A server that has run once made the tables, the tenant and the queue.
    async install(ground) {
      await (await Server.start(BINARY, ground.url)).stop();
    },
    // Its engine tells only four times a second how far it is; when the last outcome was committed PostgreSQL knows.
    ended: (ground) => ground.number(
      "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin))) * 1000 FROM mainstay.attempt"),
  },
  {
    name: "graphile-worker",
    database: "postgres",
    version: () => installed("graphile-worker"),
    program: script("graphile-worker.mjs"),
    left: (ground) => ground.number("SELECT count(*) FROM graphile_worker._private_jobs"),
  },
  {
    name: "pg-boss",
    database: "postgres",
    version: () => installed("pg-boss"),
    program: script("pg-boss.mjs"),
    left: (ground) => ground.number("SELECT count(*) FROM pgboss.job WHERE name = 'noop' AND state < 'completed'"),
  },
  {
    name: "bullmq",
    database: "redis",
    version: () => `${installed("bullmq")}, Redis ${/v=(\S+)/.exec(ran("redis-server", "--version"))[1]}`,
    program: script("bullmq.mjs"),
    left: (ground) => ground.left("noop"),
  },
  {
    name: "procrastinate",
    database: "postgres",
    version: () => required("procrastinate"),
    program: script("procrastinate_noop.py"),
    left: (ground) => ground.number("SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"),
  },
  {
    name: "awa",
    database: "postgres",
    version: () => required("awa-pg"),
    program: script("awa_noop.py"),
    left: (ground) => ground.number("SELECT count(*) FROM awa.jobs WHERE state <> 'completed'"),
  },
  // The first job makes its queue.
  served("mainstay pulled", "mainstay-pull.mjs", { install: () => {} }),
  served("mainstay pushed", "mainstay-push.mjs"),
];
