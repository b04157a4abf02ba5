// A real server on a database of its own, and the package as somebody installs it.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const PACKAGE = fileURLToPath(new URL('../..', import.meta.url));
const TARGET = process.env.CARGO_TARGET_DIR ?? join(PACKAGE, '../../target');
const BINARY = process.env.MAINSTAY_BINARY ?? join(TARGET, 'debug/mainstay');

export function folder() {
  return mkdtempSync(join(tmpdir(), 'mainstay-sdk-'));
}

export class Server {
  #data = folder();
  #child;
  #port;
  url;
  key;

  async start() {
    this.#port ??= await freePort();
    this.url = `http://127.0.0.1:${this.#port}`;
    const args = ['serve', '--listen', `127.0.0.1:${this.#port}`, '--data', join(this.#data, 'data')];
    this.#child = spawn(BINARY, args, {
      cwd: this.#data,
      // The tests look more often than a program should.
      env: { ...process.env, MAINSTAY_LIMITS_READS_PER_MINUTE: '10000' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    this.#child.stderr.on('data', (part) => { said = (said + part).slice(-4_000); });
    while (!(await this.#ready())) {
      if (this.#child.exitCode !== null) throw new Error(`the server ended: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    this.key ??= await this.#makeKey();
  }

  /** Ends it as a power cut does. */
  async kill() {
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }

  async remove() {
    await this.kill();
    rmSync(this.#data, { recursive: true, force: true });
  }

  run(args) {
    const own = ['--data', join(this.#data, 'data'), ...args];
    return spawnSync(BINARY, own, { cwd: this.#data, encoding: 'utf8', timeout: 60_000 });
  }

  async #ready() {
    return fetch(`${this.url}/readyz`).then((answer) => answer.ok, () => false);
  }

  async #makeKey() {
    const local = JSON.parse(readFileSync(join(this.#data, 'data/api.json'), 'utf8'));
    const answer = await fetch(`${this.url}/v1/keys`, {
      method: 'POST',
      headers: { authorization: `Bearer ${local.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'workers', role: 'operator' }),
    });
    const made = await answer.json();
    if (!answer.ok) throw new Error(JSON.stringify(made));
    return made.secret;
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** A project with the packed package in it, as anybody's. */
export function project() {
  const at = folder();
  npm(PACKAGE, ['pack', '--pack-destination', at, '--silent']);
  const archive = readdirSync(at).find((name) => name.endsWith('.tgz'));
  writeFileSync(join(at, 'package.json'), JSON.stringify({ name: 'scratch', private: true, type: 'module' }));
  npm(at, ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--silent', `./${archive}`]);
  return { at, remove: () => rmSync(at, { recursive: true, force: true }) };
}

function npm(cwd, args) {
  const ran = spawnSync('npm', args, { cwd, encoding: 'utf8', timeout: 120_000 });
  if (ran.status !== 0) throw new Error(`npm ${args[0]}: ${ran.stdout}${ran.stderr}`);
}

/** A program in a project; its lines are JSON. */
export class Program {
  lines = [];
  #child;
  #waiting = new Set();

  constructor(cwd, file, env) {
    this.#child = spawn(process.execPath, [file], { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.lines.push(JSON.parse(line));
      for (const look of this.#waiting) look();
    });
  }

  /** Resolves once so many lines are as wanted. */
  seen(count, wanted) {
    return new Promise((resolve) => {
      const look = () => {
        if (this.lines.filter(wanted).length < count) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  async end(signal) {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return this.#child.exitCode;
    const gone = once(this.#child, 'exit');
    this.#child.kill(signal);
    const [code] = await gone;
    return code;
  }
}
