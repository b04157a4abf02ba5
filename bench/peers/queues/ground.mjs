// What is measured on: a throw-away PostgreSQL and a throw-away Redis, a fresh database of either for each queue.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Redis from "ioredis";
import pg from "pg";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const DATABASE = "bench";
/**
 * As docs/operating.md says that PostgreSQL should be set for Mainstay, and the same for all. The times of commits are
 * kept because one queue tells how far it is only four times a second; that takes ten bytes for a transaction.
 */
const SETTINGS = "-c shared_buffers=1GB -c max_wal_size=8GB -c min_wal_size=2GB -c track_commit_timestamp=on";

/** Ends what was started, on any way out. */
const atEnd = [];
process.on("exit", () => atEnd.reverse().forEach((end) => end()));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** Waits for a moment: only between looks, never for something to have happened. */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function portFree() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A folder that goes away. */
export function folder(what) {
  const made = mkdtempSync(join(tmpdir(), `mainstay-peers-${what}-`));
  atEnd.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** A throw-away PostgreSQL, reached through its socket. */
export class Postgres {
  #url;

  constructor() {
    // Not inside a folder of ours: PostgreSQL may run as another user than we.
    const at = join(tmpdir(), `mainstay-peers-pg-${process.pid}`);
    const script = (word) => {
      const env = { ...process.env, POSTGRES_SETTINGS: SETTINGS };
      return execFileSync("tools/postgres", [word, at], { cwd: ROOT, env, encoding: "utf8" }).trim();
    };
    atEnd.push(() => script("stop"));
    script("start");
    script("season");
    this.#url = script("socket");
  }

  /** The address of a database that is made anew, and a connection to look at it with. */
  async fresh() {
    const own = await this.#connect(this.#url);
    await own.query(`DROP DATABASE IF EXISTS ${DATABASE} WITH (FORCE)`);
    await own.query(`CREATE DATABASE ${DATABASE} TEMPLATE template0`);
    await own.end();
    const url = this.#url.replace("/postgres?", `/${DATABASE}?`);
    return new Fresh(url, await this.#connect(url));
  }

  async #connect(url) {
    const client = new pg.Client({ connectionString: url });
    // The database is dropped under it, or all of it ends.
    client.on("error", () => {});
    await client.connect();
    return client;
  }
}

/** A database of PostgreSQL. */
class Fresh {
  constructor(url, client) {
    this.url = url;
    this.client = client;
  }

  /** The one value that a statement answers, as a number. */
  async number(statement) {
    const { rows } = await this.client.query({ text: statement, rowMode: "array" });
    return Number(rows[0][0]);
  }

  /** Where the log is. */
  log() {
    return this.number("SELECT pg_current_wal_insert_lsn() - '0/0'");
  }

  /** Nothing of before is left to be written, and what is planned is planned by what is there: the same for each. */
  async settle() {
    await this.client.query("VACUUM (ANALYZE)");
    await this.client.query("CHECKPOINT");
  }

  /**
   * Rows that were updated or deleted since the beginning, in all tables or in these: each leaves a dead one. A session
   * tells of its own when it ends, so this waits until only this one is left.
   */
  async rewritten(tables) {
    const others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while ((await this.number(others)) > 0) await pause(20);
    const { rows } = await this.client.query(
      "SELECT coalesce(sum(n_tup_upd + n_tup_del), 0) AS rows FROM pg_stat_user_tables WHERE $1::text[] IS NULL OR relname = ANY($1)",
      [tables]);
    return Number(rows[0].rows);
  }

  /** From here on those are counted. */
  forget() {
    return this.client.query("SELECT pg_stat_reset()");
  }

  end() {
    return this.client.end();
  }
}

/** A throw-away Redis that appends to its file and syncs it every second: what it answers may be lost for that long. */
export class RedisServer {
  static async start() {
    const [at, port] = [folder("redis"), await portFree()];
    const args = ["--port", port, "--bind", "127.0.0.1", "--dir", at, "--save", "", "--appendonly", "yes",
      "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"];
    const child = spawn("redis-server", args.map(String), { stdio: "ignore" });
    atEnd.push(() => child.kill("SIGKILL"));
    const made = new RedisServer();
    made.url = `redis://127.0.0.1:${port}`;
    made.client = new Redis(made.url, { maxRetriesPerRequest: null });
    made.client.on("error", () => {});
    await made.client.ping();
    return made;
  }

  async fresh() {
    await this.client.flushall();
    return this;
  }

  settle() {}

  /** Jobs that wait or are under way. */
  async left(queue) {
    const [wait, active] = await Promise.all(["wait", "active"].map((list) => this.client.llen(`bull:${queue}:${list}`)));
    return wait + active;
  }

  log() {
    return NaN;
  }

  rewritten() {
    return NaN;
  }

  forget() {}

  end() {}
}
