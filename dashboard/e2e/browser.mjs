// The browser, the server that it looks at, and what every test needs of them.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const WIDE = { width: 1440, height: 900 };
export const NARROW = { width: 390, height: 844 };

class Skip extends Error {}
export const skip = (why) => {
  throw new Skip(why);
};
export function assert(condition, message) {
  if (!condition) throw new Error(message);
}

export const fake = process.env.MAINSTAY_URL ? null : await startFake();
export const base = (process.env.MAINSTAY_URL ?? fake.base).replace(/\/$/, "");
export const link = new URL(process.env.MAINSTAY_SIGNIN_LINK ?? fake?.link ?? "/signin", base).href;

const profile = mkdtempSync(join(tmpdir(), "mainstay-e2e-"));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    `--disk-cache-dir=${profile}`,
  ],
});

let passed = 0;
let failed = 0;
let skipped = 0;
const only = process.env.E2E_ONLY;
const began = Date.now();

export async function test(name, run) {
  if (only && !name.includes(only)) return;
  const started = Date.now();
  try {
    await run();
    passed += 1;
    console.log(`ok    ${name} (${Date.now() - started} ms)`);
  } catch (error) {
    if (error instanceof Skip) {
      skipped += 1;
      console.log(`skip  ${name}: ${error.message}`);
      return;
    }
    failed += 1;
    console.log(`FAIL  ${name}\n      ${String(error?.message ?? error).replaceAll("\n", "\n      ")}`);
  }
}

/** Tests that only look may look at the same time: most of their time is waiting. */
export async function together(atOnce, tests) {
  const queue = [...tests];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let next = queue.shift(); next; next = queue.shift()) await test(...next);
    }),
  );
}

let cookies;

/** What every later page is signed in with. */
export function keepSession(session) {
  cookies = session;
}
export const hasSession = () => cookies !== undefined;

let pictures = 0;

/** A page of its own, signed in, that collects whatever the browser complains about. */
export async function withPage({ viewport = WIDE, colorScheme = "light", reducedMotion = "no-preference", signedIn = true, fakeMode } = {}, run) {
  const context = await browser.newContext({ viewport, colorScheme, reducedMotion, timezoneId: "Europe/Berlin", permissions: ["clipboard-read", "clipboard-write"] });
  if (signedIn && cookies) await context.addCookies(cookies);
  // What the fake API is to do for this page alone.
  if (fakeMode) await context.addCookies([{ name: "fake", value: fakeMode, url: base }]);
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    // An answer that a test wants to be an error is logged by the browser as well.
    if (message.type() === "error" && !/Failed to load resource|net::ERR/.test(message.text())) complaints.push(`console: ${message.text()}`);
  });
  await page.addInitScript(() => {
    window.__shift = 0;
    window.__shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        if (entry.hadRecentInput) continue;
        window.__shift += entry.value;
        window.__shifts.push(`${entry.value.toFixed(4)} ${entry.sources.map(({ node }) => (node?.nodeType === 1 ? node : node?.parentElement)?.outerHTML?.slice(0, 140)).join(" | ")}`);
      }
    }).observe({ type: "layout-shift", buffered: true });
    window.__csp = [];
    document.addEventListener("securitypolicyviolation", (event) => window.__csp.push(`${event.violatedDirective} ${event.blockedURI}`));
  });
  try {
    await run(page);
    const violations = await page.evaluate(() => window.__csp).catch(() => []);
    assert(violations.length === 0, `content security policy: ${violations.join(", ")}`);
    assert(complaints.length === 0, complaints.join("\n"));
  } catch (error) {
    if (process.env.E2E_SHOTS && !(error instanceof Skip)) {
      mkdirSync(process.env.E2E_SHOTS, { recursive: true });
      const file = join(process.env.E2E_SHOTS, `${++pictures}.png`);
      await page.screenshot({ path: file }).then(() => console.log(`      see ${file}`), () => {});
    }
    throw error;
  } finally {
    await context.close();
  }
}

export async function go(page, path) {
  await page.goto(base + path);
  await page.waitForSelector("main h1");
  await settled(page);
}

/** Loaded: nothing says that it is busy any more, and a frame has been painted. */
export async function settled(page) {
  await page.waitForFunction(() => !document.querySelector("main [aria-busy=true]"));
  await page.evaluate(() => document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))));
}

/** Nothing is in the middle of a movement: transparent layers of a fade have no contrast to speak of. */
export async function still(page) {
  await page.evaluate(async () => {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const ending = document.getAnimations().filter((each) => each.effect.getTiming().iterations !== Infinity);
    await Promise.all(ending.map((each) => each.finished.catch(() => undefined)));
  });
}

/** With `of`, only those rules, or all but some, and only inside some elements. */
export async function axe(page, where, of = {}) {
  await still(page);
  // Not a script tag: the page's own policy would refuse it, as it should.
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axeSource);
  const found = await page.evaluate(async ({ only, without = [], inside = "html" }) => {
    const { violations } = await window.axe.run(inside, {
      resultTypes: ["violations"],
      ...(only && { runOnly: only }),
      rules: Object.fromEntries(without.map((rule) => [rule, { enabled: false }])),
    });
    return violations.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 160)} — ${failureSummary?.split("\n")[1]?.trim() ?? ""}`).join("\n  ")}`);
  }, of);
  assert(found.length === 0, `${where}\n${found.join("\n")}`);
}

export async function noSidewaysScroll(page) {
  // A chart follows a new width a frame or two later.
  await page.waitForFunction(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth, null, { timeout: 3000 }).catch(() => {});
  const { scroll, client } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, client: document.documentElement.clientWidth }));
  if (scroll > client) {
    const wide = await page.evaluate(() =>
      [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1).slice(0, 3).map((each) => each.outerHTML.slice(0, 120)),
    );
    throw new Error(`scrolls sideways: ${scroll} > ${client}\n${wide.join("\n")}`);
  }
}

/** Tells the fake API what to do. */
export const tell = (wish) => fetch(`${fake.base}/v1/fake`, { method: "POST", body: JSON.stringify(wish) });

export const api = async (page, path) => {
  const response = await page.request.get(base + path);
  assert(response.ok(), `${path} answered ${response.status()}`);
  return response.json();
};
export const first = async (page, path, what, choose = () => true) => (await api(page, path)).items.find(choose) ?? skip(`there is no ${what}`);

async function startFake() {
  const [{ startFakeApi }, { preview }] = await Promise.all([import("../dev/fake-api.mjs"), import("vite")]);
  const stand = await startFakeApi({ port: 0 });
  process.env.MAINSTAY_API = stand.url;
  const server = await preview({ root, preview: { port: Number(process.env.PORT ?? 4599), host: "127.0.0.1" }, logLevel: "error" });
  const { port } = server.httpServer.address();
  return {
    base: `http://127.0.0.1:${port}`,
    link: stand.link,
    close: async () => {
      server.httpServer.closeAllConnections?.();
      await server.close();
      stand.close();
    },
  };
}

export async function signInQuietly() {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(link);
  await Promise.all([page.waitForURL(`${base}/`), page.locator("button").first().click()]);
  const got = await context.cookies();
  await context.close();
  return got;
}

/** Closes everything, says how it went, and ends with it. */
export async function finish() {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
  await fake?.close();
  console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}, in ${Math.round((Date.now() - began) / 1000)} s`);
  process.exit(failed > 0 ? 1 : 0);
}
