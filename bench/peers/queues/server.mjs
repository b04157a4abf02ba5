// `mainstay serve` on a database that is measured.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { peakMib } from "./child.mjs";
import { folder, pause, portFree } from "./ground.mjs";

const READY_MS = 60_000;
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

export class Server {
  #child;

  /** Starts one; resolves once it is ready. */
  static async start(binary, database) {
    const made = new Server();
    const [data, port] = [folder("data"), await portFree()];
    made.url = `http://127.0.0.1:${port}`;
    made.#child = spawn(binary, ["serve", "--listen", `127.0.0.1:${port}`, "--data", data, "--database", database], {
      env: {
        ...process.env,
        MAINSTAY_LOG: "error",
        MAINSTAY_OUTBOUND_ALLOW: "127.0.0.0/8",
        // How many requests a key may make in a minute is not what is measured.
        MAINSTAY_LIMITS_READS_PER_MINUTE: "1000000",
        MAINSTAY_LIMITS_WRITES_PER_MINUTE: "1000000",
        MAINSTAY_LIMITS_REQUESTS_PER_MINUTE: "100000000",
      },
      stdio: ["ignore", "ignore", "inherit"],
    });
    running.add(made.#child);
    const until = Date.now() + READY_MS;
    while (!(await fetch(`${made.url}/readyz`).then((answer) => answer.ok, () => false))) {
      if (made.#child.exitCode !== null) throw new Error(`mainstay serve ended with ${made.#child.exitCode}`);
      if (Date.now() > until) throw new Error("mainstay serve is not ready");
      await pause(20);
    }
    made.key = JSON.parse(readFileSync(join(data, "api.json"), "utf8")).token;
    return made;
  }

  peakMib() {
    return peakMib(this.#child.pid);
  }

  async stop() {
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await gone;
    running.delete(this.#child);
  }
}
