// A queue's program as the runner sees it: it is ready, begins when it is told to, and says how far it is.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

/** How long a program may take until it is ready. */
const READY_MS = 60_000;
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** The most memory that a process had resident so far, in MiB. */
export function peakMib(pid) {
  const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line[1]) / 1_024;
}

export class Child {
  /** How many jobs it handled, by its own word. */
  handled = 0;
  #child;
  #name;
  #ready;
  /** Resolves once it has ended and all that it said was read. */
  #closed;
  /** When it last said so. */
  changedAt = 0;
  #changed = () => {};

  constructor(name, { command, args, env }, cwd) {
    this.#name = name;
    const stdio = ["pipe", "pipe", "inherit"];
    this.#child = spawn(command, args, { cwd, env: { ...process.env, NODE_ENV: "production", ...env }, stdio });
    running.add(this.#child);
    this.#child.stdin.on("error", () => {});
    this.#closed = new Promise((resolve) => this.#child.once("close", resolve));
    this.#ready = new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${name} is not ready`)), READY_MS);
      this.#child.once("error", reject);
      this.#child.once("exit", (code) => {
        running.delete(this.#child);
        clearTimeout(late);
        reject(new Error(`${name} ended with ${code}`));
      });
      createInterface({ input: this.#child.stdout }).on("line", (line) => {
        const said = JSON.parse(line);
        if (said.ready) {
          clearTimeout(late);
          resolve();
        }
        if (said.handled !== undefined) {
          this.handled = said.handled;
          this.changedAt = performance.timeOrigin + performance.now();
          this.#changed();
        }
      });
    });
    // Whoever waits for it hears of it.
    this.#ready.catch(() => {});
  }

  ready() {
    return this.#ready;
  }

  go() {
    this.#child.stdin.write("go\n");
  }

  /** Calls this whenever it has handled more, or is no more. */
  onChange(call) {
    this.#changed = call;
    this.#child.once("exit", call);
  }

  get gone() {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Why it is no more. */
  death() {
    return new Error(`${this.#name} ended with ${this.#child.exitCode ?? this.#child.signalCode}`);
  }

  /** Resolves once it has ended well by itself; in so many milliseconds. */
  async over(within) {
    const late = setTimeout(() => this.#child.kill("SIGKILL"), within);
    await this.#closed;
    clearTimeout(late);
    if (this.#child.exitCode !== 0) throw this.death();
  }

  peakMib() {
    return peakMib(this.#child.pid);
  }

  /** Asks it to end, and sees to it that it does. */
  async end() {
    if (this.gone) return;
    this.#child.stdin.write("stop\n");
    const kill = setTimeout(() => this.#child.kill("SIGKILL"), 10_000);
    await this.#closed;
    clearTimeout(kill);
  }
}
