// The dashboard in a real browser. Against the fake API by default; against a real server with
//   MAINSTAY_URL=http://127.0.0.1:8080 MAINSTAY_SIGNIN_LINK=http://127.0.0.1:8080/signin/link?token=… npm run e2e
// Others: CHROMIUM (the browser), E2E_ONLY (a part of a test's name), E2E_SHOTS (a folder for pictures of failures).
//
// Tests that need the fake API's own switches (an empty installation, a failing one) are left out on a real server;
// tests that need data that is not there say so. Both count as skipped, not as passed.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WIDE = { width: 1440, height: 900 };
const NARROW = { width: 390, height: 844 };
const CLS_MAX = 0.01;
const LIVE_MS = Number(process.env.E2E_LIVE_MS ?? 5000);

class Skip extends Error {}
const skip = (why) => {
  throw new Skip(why);
};
function assert(condition, message) {
  if (!condition) throw new Error(message);
}

const fake = process.env.MAINSTAY_URL ? null : await startFake();
const base = (process.env.MAINSTAY_URL ?? fake.base).replace(/\/$/, "");
const link = new URL(process.env.MAINSTAY_SIGNIN_LINK ?? fake?.link ?? "/signin", base).href;

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

async function test(name, run) {
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
async function together(atOnce, tests) {
  const queue = [...tests];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let next = queue.shift(); next; next = queue.shift()) await test(...next);
    }),
  );
}

let cookies;
let pictures = 0;

/** A page of its own, signed in, that collects whatever the browser complains about. */
async function withPage({ viewport = WIDE, colorScheme = "light", reducedMotion = "no-preference", signedIn = true } = {}, run) {
  const context = await browser.newContext({ viewport, colorScheme, reducedMotion, timezoneId: "Europe/Berlin", permissions: ["clipboard-read", "clipboard-write"] });
  if (signedIn && cookies) await context.addCookies(cookies);
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

async function go(page, path) {
  await page.goto(base + path);
  await page.waitForSelector("main h1");
  await settled(page);
}

/** Loaded: nothing says that it is busy any more, and a frame has been painted. */
async function settled(page) {
  await page.waitForFunction(() => !document.querySelector("main [aria-busy=true]"), null, { timeout: 10_000 });
  await page.evaluate(() => document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))));
}

async function axe(page, where) {
  // Not a script tag: the page's own policy would refuse it, as it should.
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 160)} — ${failureSummary?.split("\n")[1]?.trim() ?? ""}`).join("\n  ")}`);
  });
  assert(found.length === 0, `${where}\n${found.join("\n")}`);
}

async function noSidewaysScroll(page) {
  const { scroll, client } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, client: document.documentElement.clientWidth }));
  if (scroll > client) {
    const wide = await page.evaluate(() =>
      [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1).slice(0, 3).map((each) => each.outerHTML.slice(0, 120)),
    );
    throw new Error(`scrolls sideways: ${scroll} > ${client}\n${wide.join("\n")}`);
  }
}

const api = async (page, path) => {
  const response = await page.request.get(base + path);
  assert(response.ok(), `${path} answered ${response.status()}`);
  return response.json();
};
const first = async (page, path, what, choose = () => true) => (await api(page, path)).items.find(choose) ?? skip(`there is no ${what}`);

/** Every page of the dashboard; those of one thing need one to be there. */
const pages = [
  ["overview", () => "/"],
  ["overview of 7 days", () => "/?window=7d"],
  ["events", () => "/events"],
  ["events, filtered to none", () => "/events?q=there-is-no-such-event"],
  ["an event", async (page) => `/events/${(await first(page, "/v1/events?status=success", "event")).id}`],
  ["an event that failed", async (page) => `/events/${(await first(page, "/v1/events?status=error", "event with an error")).id}`],
  ["jobs", () => "/jobs"],
  ["a job", async (page) => `/jobs/${(await first(page, "/v1/jobs?state=done", "job")).id}`],
  ["dead letters", () => "/dead-letters"],
  ["sources", () => "/sources"],
  ["a source", async (page) => `/sources/${(await first(page, "/v1/sources", "source", ({ scheme }) => scheme !== "mainstay")).id}`],
  ["endpoints", () => "/endpoints"],
  ["an endpoint", async (page) => `/endpoints/${(await first(page, "/v1/endpoints", "endpoint")).id}`],
  ["users", () => "/settings/users"],
  ["keys", () => "/settings/keys"],
  ["tenants", () => "/settings/tenants"],
  ["audit", () => "/settings/audit"],
  ["system", () => "/settings/system"],
  ["no such page", () => "/no/such/page"],
  ["no such event", () => "/events/evt_00000000000000000000000000"],
];

await test("signing in by link leads to the overview", () =>
  withPage({ signedIn: false }, async (page) => {
    await page.goto(link);
    await Promise.all([page.waitForURL(`${base}/`), page.locator("button[type=submit], button").first().click()]);
    await page.waitForSelector("main h1");
    cookies = await page.context().cookies();
    assert(cookies.length > 0, "no cookie was set");
  }));
if (!cookies && !only) console.log("      everything below needs that session");
cookies ??= await signInQuietly();

await test("without a session the dashboard leads to the sign-in page and remembers the way back", () =>
  withPage({ signedIn: false }, async (page) => {
    await page.goto(`${base}/events?status=error`);
    await page.waitForURL(/\/signin\?next=/, { timeout: 10_000 });
    assert(new URL(page.url()).searchParams.get("next") === "/events?status=error", page.url());
  }));

const looks = [WIDE, NARROW].flatMap((viewport) => ["light", "dark"].map((colorScheme) => ({ viewport, colorScheme })));
await together(
  2,
  looks.flatMap((look) =>
    pages.map(([name, path]) => [
      `${name}: ${look.viewport.width} px, ${look.colorScheme}: accessible, nothing sideways`,
      () =>
        withPage(look, async (page) => {
          await go(page, await path(page));
          await noSidewaysScroll(page);
          // Transparent layers in the middle of a fade have no contrast to speak of.
          await page.waitForTimeout(150);
          await axe(page, name);
        }),
    ]),
  ),
);

const livePages = pages.slice(0, 13).filter(([each]) => !each.includes("none"));
await together(
  3,
  [WIDE, NARROW].flatMap((viewport) => livePages.map(([name, path]) => [
    `${name}: ${viewport.width} px: nothing moves while it is live`,
    () =>
      withPage({ viewport }, async (page) => {
        await go(page, await path(page));
        await page.waitForTimeout(600);
        const loading = await page.evaluate(() => ({ shift: window.__shift, shifts: window.__shifts }));
        await page.evaluate(() => {
          window.__shift = 0;
          window.__shifts = [];
        });
        await page.waitForTimeout(LIVE_MS);
        const { shift, shifts } = await page.evaluate(() => ({ shift: window.__shift, shifts: window.__shifts }));
        assert(shift < CLS_MAX, `layout shift ${shift.toFixed(4)} while live\n${shifts.slice(0, 4).join("\n")}`);
        assert(loading.shift < 0.1, `layout shift ${loading.shift.toFixed(4)} while loading\n${loading.shifts.join("\n")}`);
      }),
  ])),
);

await test("the overview is live: numbers change without a reload, and it says so", () =>
  withPage({}, async (page) => {
    await go(page, "/");
    await page.getByText("Live", { exact: true }).first().waitFor({ timeout: 10_000 });
    const tiles = page.getByRole("group", { name: "Now" });
    await page.waitForFunction(() => !document.body.innerText.includes("waiting for the live connection"), null, { timeout: 10_000 });
    if (!fake) return;
    const before = await tiles.innerText();
    await page.waitForFunction((old) => document.querySelector("[role=group][aria-label=Now]").innerText !== old, before, { timeout: 15_000 });
  }));

await test("the window of the overview lives in the URL", () =>
  withPage({}, async (page) => {
    await go(page, "/");
    await page.getByRole("button", { name: "24 hours" }).click();
    await page.waitForURL(/window=24h/);
    await page.reload();
    await page.waitForSelector("main h1");
    assert((await page.getByRole("button", { name: "24 hours" }).getAttribute("aria-pressed")) === "true", "not pressed after a reload");
  }));

await test("a chart can be read as a table", () =>
  withPage({}, async (page) => {
    await go(page, "/");
    await page.getByRole("button", { name: "Table" }).first().click();
    await page.getByRole("group", { name: "Values" }).getByRole("columnheader", { name: "Received" }).waitFor();
    await axe(page, "chart as a table");
  }));

await test("filters of events live in the URL and survive a reload", () =>
  withPage({}, async (page) => {
    await go(page, "/events");
    const event = await first(page, "/v1/events", "event");
    await page.getByRole("button", { name: "Success", exact: true }).click();
    await page.getByLabel("Source", { exact: true }).selectOption(event.source_name);
    await page.getByPlaceholder(/Type, e\.g\./).fill(event.type);
    await page.getByLabel("Period").selectOption("7d");
    await page.waitForURL((url) => url.searchParams.get("type") === event.type);
    const wanted = { status: "success", source: event.source_name, type: event.type, period: "7d" };
    for (const [name, value] of Object.entries(wanted)) assert(new URL(page.url()).searchParams.get(name) === value, `${name} is not in ${page.url()}`);
    const url = page.url();
    await page.reload();
    await page.waitForSelector("main h1");
    await settled(page);
    assert(page.url() === url, `the address changed to ${page.url()}`);
    assert((await page.getByPlaceholder(/Type, e\.g\./).inputValue()) === event.type, "the type is gone");
    assert((await page.getByLabel("Period").inputValue()) === "7d", "the period is gone");
    for (const status of await page.locator("[data-row] td[data-card=status]").allInnerTexts()) assert(status.trim() === "Success", `a row says ${status}`);
    await page.goBack();
    await page.waitForURL((now) => !now.searchParams.has("period"));
  }));

await test("a search finds an event by the beginning of its provider's id", () =>
  withPage({}, async (page) => {
    await go(page, "/events");
    const event = await first(page, "/v1/events", "event");
    await page.keyboard.press("/");
    await page.keyboard.type(event.provider_id.slice(0, Math.max(8, event.provider_id.length - 3)));
    await page.locator(`[data-row="${event.id}"]`).waitFor({ timeout: 10_000 });
    await page.waitForURL((url) => url.searchParams.has("q"));
  }));

await test("more of a list is loaded on demand", () =>
  withPage({}, async (page) => {
    await go(page, "/events");
    const more = page.getByRole("button", { name: "Load more" });
    if (!(await more.isVisible())) skip("there is only one page of events");
    const before = await page.locator("[data-row]").count();
    await more.click();
    await page.waitForFunction((count) => document.querySelectorAll("[data-row]").length > count, before);
  }));

await test("new events are announced, not thrown in, and shown with one key", () =>
  withPage({}, async (page) => {
    if (!fake) skip("needs traffic");
    await go(page, "/events");
    const top = await page.locator("[data-row]").first().getAttribute("data-row");
    const button = page.locator("[data-show-fresh]");
    await button.waitFor({ timeout: 20_000 });
    assert((await page.locator("[data-row]").first().getAttribute("data-row")) === top, "the list moved by itself");
    await page.keyboard.press(".");
    await page.waitForFunction((old) => document.querySelector("[data-row]").dataset.row !== old, top);
  }));

await test("the whole dashboard can be driven by keys", () =>
  withPage({}, async (page) => {
    await go(page, "/");
    await page.keyboard.press("Tab");
    assert((await page.evaluate(() => document.activeElement.textContent)) === "Skip to content", "the skip link is not first");
    for (const [key, path, title] of [
      ["e", "/events", "Events"],
      ["j", "/jobs", "Jobs"],
      ["d", "/dead-letters", "Dead letters"],
      ["s", "/sources", "Sources"],
      ["p", "/endpoints", "Endpoints"],
      ["t", "/settings/users", "Settings"],
      ["o", "/", "Overview"],
    ]) {
      await page.keyboard.press("g");
      await page.keyboard.press(key);
      await page.waitForURL((url) => url.pathname === path);
      await page.locator("main h1", { hasText: title }).waitFor();
      await page.waitForFunction((wanted) => document.activeElement?.tagName === "H1" && document.activeElement.textContent.includes(wanted), title);
    }
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
    await axe(page, "the help");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });

    await page.keyboard.press("g");
    await page.keyboard.press("s");
    await page.waitForURL(/\/sources$/);
    await settled(page);
    const rows = await page.locator("[data-row]").count();
    if (rows === 0) skip("there are no sources to move among");
    await page.keyboard.press("j");
    if (rows > 1) await page.keyboard.press("j");
    if (rows > 1) await page.keyboard.press("k");
    const focused = await page.evaluate(() => ({ row: document.activeElement.closest("[data-row]")?.dataset.row, outline: getComputedStyle(document.activeElement.closest("[data-row]")).outlineStyle }));
    assert(focused.row === (await page.locator("[data-row]").first().getAttribute("data-row")), "j and k do not move the focus");
    assert(focused.outline === "solid", "the focused row cannot be seen");
    await page.keyboard.press("Enter");
    await page.waitForURL((url) => url.pathname === `/sources/${focused.row}`);
  }));

await test("keys do nothing while somebody types", () =>
  withPage({}, async (page) => {
    await go(page, "/events");
    await page.keyboard.press("/");
    await page.keyboard.type("gj?");
    assert(new URL(page.url()).pathname === "/events", "typing led away");
    assert((await page.locator("[data-search]").inputValue()) === "gj?", "the letters did not arrive");
    await page.keyboard.press("Escape");
    assert((await page.evaluate(() => document.activeElement.tagName)) !== "INPUT", "Escape does not leave the field");
  }));

await test("the focus stays in a dialog and comes back", () =>
  withPage({}, async (page) => {
    await go(page, "/sources");
    const opener = page.getByRole("button", { name: "New source" }).first();
    await opener.click();
    await page.getByRole("dialog").waitFor();
    for (let n = 0; n < 12; n++) {
      await page.keyboard.press("Tab");
      // At the ends the focus goes around by way of a guard.
      const inside = await page.waitForFunction(() => document.querySelector("[role=dialog]").contains(document.activeElement), null, { timeout: 2000 }).catch(() => null);
      assert(inside, `Tab ${n + 1} left the dialog, to ${await page.evaluate(() => document.activeElement.outerHTML.slice(0, 200))}`);
    }
    await page.waitForTimeout(200);
    await axe(page, "a dialog");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.waitForFunction(() => document.activeElement?.textContent.includes("New source"));
  }));

await test("the theme can be chosen, is kept, and is there in the first frame", () =>
  withPage({ colorScheme: "light" }, async (page) => {
    await go(page, "/");
    const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const light = await background();
    await page.getByRole("button", { name: /Account and appearance/ }).locator("visible=true").click();
    await page.waitForTimeout(200);
    await axe(page, "the menu");
    await page.getByRole("menuitemradio", { name: "Dark" }).click();
    await page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
    const dark = await background();
    assert(dark !== light, "nothing changed");
    await page.reload({ waitUntil: "commit" });
    await page.waitForSelector("main h1");
    assert((await background()) === dark, "it was forgotten");
  }));

await test("an event is told from its request to its answers", () =>
  withPage({}, async (page) => {
    await go(page, "/events");
    const event = await first(page, "/v1/events", "event that was pushed", ({ jobs }) => jobs.done > 0);
    await go(page, `/events/${event.id}`);
    const story = page.getByRole("list", { name: "What happened to this event" });
    await story.getByText("Request received").waitFor();
    await story.getByText(/Signature verified/).waitFor();
    await page.getByText(event.id, { exact: true }).first().waitFor();
    const attempt = story.locator("details summary").first();
    if ((await attempt.count()) > 0) {
      const details = story.locator("details").first();
      if (!(await details.evaluate((each) => each.open))) await attempt.click();
      await details.getByText("Request", { exact: true }).waitFor();
      await details.getByText(/^Answer/).waitFor();
    }
    await page.getByRole("button", { name: `Copy ${event.id}` }).first().click();
    await page.getByRole("button", { name: "Copied" }).first().waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert(copied === event.id, `copied ${copied}`);
  }));

await test("a replay is planned before it is run", () =>
  withPage({}, async (page) => {
    await go(page, "/events");
    const event = await first(page, "/v1/events", "event with jobs", ({ jobs }) => jobs.total > 0 && jobs.total === jobs.done);
    await go(page, `/events/${event.id}`);
    const jobs = (await api(page, `/v1/events/${event.id}`)).jobs_list.length;
    await page.getByRole("button", { name: "Replay…" }).click();
    const run = page.getByRole("dialog").getByRole("button", { name: /^Make \d+ jobs?$/ });
    await run.waitFor();
    await page.waitForTimeout(200);
    await axe(page, "the plan of a replay");
    assert((await api(page, `/v1/events/${event.id}`)).jobs_list.length === jobs, "the plan made jobs");
    await run.click();
    await page.getByText(/made from 1 event/).waitFor();
    assert((await api(page, `/v1/events/${event.id}`)).jobs_list.length > jobs, "no job was made");
    await page.getByRole("button", { name: "Close" }).last().click();
    await page.getByText(/^Replayed by/).waitFor({ timeout: 10_000 });
  }));

await test("dead letters are run again in bulk: reasons, plan, confirmation", () =>
  withPage({}, async (page) => {
    await go(page, "/dead-letters");
    const groups = (await api(page, "/v1/dead-letters/groups")).items;
    if (groups.length === 0) skip("there are no dead letters");
    const group = groups.at(-1);
    await page.getByRole("list", { name: "Reasons" }).getByRole("button").last().click();
    await page.waitForURL((url) => url.searchParams.get("code") === group.code);
    await page.reload();
    await page.waitForSelector("[data-row]");
    await page.getByRole("button", { name: /^Run all again/ }).click();
    const dialog = page.getByRole("dialog", { name: "Run dead letters again" });
    const confirm = dialog.getByRole("button", { name: /^Run [\d,]+ again$/ });
    await confirm.waitFor();
    await page.waitForTimeout(200);
    await axe(page, "the plan");
    const planned = Number((await confirm.innerText()).replace(/\D/g, ""));
    assert(planned >= 1 && planned <= group.count + 5, `the plan says ${planned}, the group has ${group.count}`);
    await dialog.getByText(group.code, { exact: true }).waitFor();
    const before = (await api(page, `/v1/dead-letters?code=${encodeURIComponent(group.code)}&category=${group.category}&limit=200`)).items.length;
    assert(before >= Math.min(planned, 200), "the plan has already run something");
    await confirm.click();
    await page.getByText(/will be tried again/).waitFor();
    await page.getByRole("button", { name: "Close" }).last().click();
    await page.getByText("No dead letter matches these filters").or(page.locator("[data-row]").first()).waitFor();
  }));

await test("chosen dead letters are run again with the keyboard alone", () =>
  withPage({}, async (page) => {
    await go(page, "/dead-letters");
    if ((await page.locator("[data-row]").count()) < 2) skip("there are not enough dead letters");
    await page.keyboard.press("j");
    await page.keyboard.press("x");
    await page.keyboard.press("j");
    await page.keyboard.press("x");
    const run = page.getByRole("button", { name: "Run 2 again…" });
    await run.focus();
    await page.keyboard.press("Enter");
    const confirm = page.getByRole("dialog").getByRole("button", { name: "Run 2 again" });
    await confirm.waitFor();
    await confirm.focus();
    await page.keyboard.press("Enter");
    await page.getByText("2 jobs will be tried again", { exact: false }).waitFor();
  }));

await test("discarding dead letters needs a reason", () =>
  withPage({}, async (page) => {
    await go(page, "/dead-letters");
    if ((await page.locator("[data-row]").count()) < 1) skip("there are no dead letters");
    await page.locator("[data-row-check]").first().check();
    await page.getByRole("button", { name: "Discard 1…" }).click();
    const confirm = page.getByRole("dialog").getByRole("button", { name: "Discard 1" });
    await confirm.waitFor();
    assert(await confirm.isDisabled(), "it can be done without a reason");
    await page.getByRole("textbox", { name: "Reason" }).fill("a browser test");
    await confirm.click();
    await page.getByText("1 dead letter discarded").waitFor();
  }));

const stamp = Date.now().toString(36);

await test("a source is made on the page; its secret is shown once and can be copied", () =>
  withPage({}, async (page) => {
    await go(page, "/sources");
    await page.getByRole("button", { name: "New source" }).first().click();
    await page.getByLabel("Provider").selectOption("github");
    await page.getByLabel("Name").fill(`e2e-${stamp}`);
    await page.getByRole("button", { name: "Create source" }).click();
    const dialog = page.getByRole("dialog", { name: /is there/ });
    await dialog.waitFor();
    await page.waitForTimeout(200);
    await axe(page, "a secret");
    const copy = dialog.getByRole("button", { name: "Copy secret" });
    if ((await copy.count()) > 0) {
      await copy.click();
      await dialog.getByRole("button", { name: "Copied" }).waitFor();
      assert((await page.evaluate(() => navigator.clipboard.readText())).length >= 16, "what was copied is no secret");
      await dialog.getByRole("button", { name: "I have kept it" }).click();
    } else {
      await dialog.getByRole("button", { name: "To the source" }).click();
    }
    await page.locator("main h1", { hasText: `e2e-${stamp}` }).waitFor();
    const secrets = page.getByRole("button", { name: /^Remove the secret/ });
    await secrets.first().waitFor();
    const before = await secrets.count();
    await page.getByRole("button", { name: "Add secret" }).click();
    await page.getByLabel("Signing secret").fill(`a-secret-of-the-browser-test-${stamp}`);
    await page.getByRole("dialog").getByRole("button", { name: "Add secret" }).click();
    await page.waitForFunction((count) => document.querySelectorAll("[aria-label^='Remove the secret']").length === count, before + 1);
    await secrets.last().click();
    await page.getByRole("dialog").getByRole("button", { name: "Remove secret" }).click();
    await page.waitForFunction((count) => document.querySelectorAll("[aria-label^='Remove the secret']").length === count, before);
  }));

await test("a field that the server does not accept says why, at the field", () =>
  withPage({}, async (page) => {
    await go(page, "/sources");
    await page.getByRole("button", { name: "New source" }).first().click();
    await page.getByLabel("Provider").selectOption("github");
    await page.getByLabel("Name").fill("Not A Name!");
    await page.getByRole("button", { name: "Create source" }).click();
    await page.getByRole("dialog").getByRole("alert").first().waitFor();
    assert((await page.getByLabel("Name").getAttribute("aria-invalid")) === "true", "the field is not marked");
    await axe(page, "a form with a mistake");
  }));

await test("an endpoint and a binding are made on the page, and taken away again", () =>
  withPage({}, async (page) => {
    await go(page, "/endpoints");
    await page.getByRole("button", { name: "New endpoint" }).first().click();
    await page.getByLabel("Name").fill(`e2e-${stamp}`);
    await page.getByLabel("URL").fill("https://example.com/hooks");
    await page.getByRole("button", { name: "Create endpoint" }).click();
    await page.getByRole("button", { name: "I have kept it" }).click();
    await page.locator("main h1", { hasText: `e2e-${stamp}` }).waitFor();

    await page.getByRole("button", { name: "New binding" }).click();
    await page.getByLabel("Event types").fill("e2e.nothing");
    await page.getByLabel("Name").fill(`e2e-${stamp}`);
    await page.getByRole("dialog").getByRole("button", { name: "Create binding" }).click();
    await page.getByRole("button", { name: `Disable e2e-${stamp}` }).click();
    await page.getByRole("button", { name: `Enable e2e-${stamp}` }).waitFor();
    await page.getByRole("button", { name: `Delete e2e-${stamp}` }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete binding" }).click();
    await page.getByText("No bindings", { exact: true }).waitFor();

    await page.getByRole("button", { name: "Delete endpoint…" }).click();
    const confirm = page.getByRole("dialog").getByRole("button", { name: "Delete endpoint" });
    assert(await confirm.isDisabled(), "it can be deleted without typing its name");
    await page.getByRole("dialog").getByRole("textbox").fill(`e2e-${stamp}`);
    await confirm.click();
    await page.waitForURL(/\/endpoints$/);
  }));

await test("the source made above can be deleted", () =>
  withPage({}, async (page) => {
    await go(page, "/sources");
    const source = await first(page, "/v1/sources?limit=200", "source of this run", ({ name }) => name === `e2e-${stamp}`);
    await go(page, `/sources/${source.id}`);
    await page.getByRole("button", { name: "Delete source…" }).click();
    await page.getByRole("dialog").getByRole("textbox").fill(source.name);
    await page.getByRole("dialog").getByRole("button", { name: "Delete source" }).click();
    await page.waitForURL(/\/sources$/);
  }));

await test("an API key is shown once, with a copy button, and can be deleted", () =>
  withPage({}, async (page) => {
    await go(page, "/settings/keys");
    await page.getByRole("button", { name: "New API key" }).click();
    await page.getByLabel("Name").fill(`e2e ${stamp}`);
    await page.getByRole("button", { name: "Create key" }).click();
    const dialog = page.getByRole("dialog", { name: /API key/ });
    await dialog.getByRole("button", { name: "Copy secret" }).click();
    await dialog.getByRole("button", { name: "Copied" }).waitFor();
    assert(/^msk_/.test(await page.evaluate(() => navigator.clipboard.readText())), "what was copied is no key");
    await dialog.getByRole("button", { name: "I have kept it" }).click();
    await page.getByRole("button", { name: `Delete e2e ${stamp}` }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete API key" }).click();
    await page.getByRole("button", { name: `Delete e2e ${stamp}` }).waitFor({ state: "detached" });
  }));

await test("a phone has every page within two presses", () =>
  withPage({ viewport: NARROW }, async (page) => {
    await go(page, "/");
    const bar = page.getByRole("navigation", { name: "Pages, compact" });
    await bar.getByRole("link", { name: /Dead/ }).click();
    await page.waitForURL(/\/dead-letters$/);
    await bar.getByRole("button", { name: "More" }).click();
    await page.getByRole("menuitem", { name: "Endpoints" }).click();
    await page.waitForURL(/\/endpoints$/);
    const small = await page.evaluate(() =>
      [...document.querySelectorAll("nav a, nav button")].filter((each) => each.offsetParent !== null && (each.offsetHeight < 24 || each.offsetWidth < 24)).length,
    );
    assert(small === 0, `${small} targets are too small to touch`);
  }));

await test("who asks for less motion gets none", () =>
  withPage({ reducedMotion: "reduce" }, async (page) => {
    await go(page, "/sources");
    await page.getByRole("button", { name: "New source" }).first().click();
    await page.getByRole("dialog").waitFor();
    const longest = await page.evaluate(() => Math.max(...[...document.querySelectorAll("*")].map((each) => Math.max(parseFloat(getComputedStyle(each).transitionDuration), parseFloat(getComputedStyle(each).animationDuration)))));
    assert(longest <= 0.001, `something moves for ${longest} s`);
  }));

// From here on: what only the fake API can be told to do.

const tell = (wish) => fetch(`${fake.base}/v1/fake`, { method: "POST", body: JSON.stringify(wish) });
const onFake = () => fake ?? skip("needs the fake API");

await test("a lost connection is said, and mended without a reload", async () => {
  onFake();
  await withPage({}, async (page) => {
    await go(page, "/");
    await page.getByText("Live", { exact: true }).first().waitFor();
    await tell({ mode: { stream: false } });
    await page.getByText("No live connection to Mainstay", { exact: false }).waitFor({ timeout: 15_000 });
    await page.getByText("Offline", { exact: true }).first().waitFor();
    await axe(page, "offline");
    await tell({ mode: { stream: true } });
    await page.getByRole("button", { name: "Try now" }).click();
    await page.getByText("Live", { exact: true }).first().waitFor({ timeout: 15_000 });
  }).finally(() => tell({ mode: { stream: true } }));
});

for (const [name, path] of pages.filter(([each]) => !/^(an?|no) /.test(each))) {
  await test(`${name}: a server that fails is shown in its own words, with a way to try again`, async () => {
    onFake();
    await tell({ mode: { failing: true } });
    await withPage({ viewport: NARROW }, async (page) => {
      await page.goto(base + (await path(page)));
      await page.getByText("The database is not available", { exact: false }).first().waitFor({ timeout: 15_000 });
      await page.getByText("database_unavailable").first().waitFor();
      await noSidewaysScroll(page);
      await axe(page, name);
      await tell({ mode: { failing: false } });
      const again = page.getByRole("button", { name: "Try again" });
      while ((await again.count()) > 0) {
        await again.first().click();
        await page.waitForTimeout(400);
      }
      await settled(page);
    }).finally(() => tell({ mode: { failing: false } }));
  });
}

await test("an empty installation says on every page what to do next", async () => {
  onFake();
  await tell({ world: "empty" });
  await withPage({}, async (page) => {
    for (const [path, words, command] of [
      ["/", "Nothing is connected yet", "mainstay source create"],
      ["/events", "No events yet", "mainstay source create"],
      ["/jobs", "No jobs yet", "mainstay job submit"],
      ["/dead-letters", "Nothing waits for you here", null],
      ["/sources", "No sources yet", "mainstay source create"],
      ["/endpoints", "No endpoints yet", "mainstay endpoint create"],
      ["/settings/keys", "No API keys", "curl"],
    ]) {
      for (const viewport of [WIDE, NARROW]) {
        await page.setViewportSize(viewport);
        await go(page, path);
        await page.getByText(words, { exact: false }).first().waitFor();
        if (command) await page.getByText(command, { exact: false }).first().waitFor();
        await noSidewaysScroll(page);
        await axe(page, `${path} of an empty installation`);
      }
    }
  }).finally(() => tell({ world: "full" }));
});

await browser.close();
rmSync(profile, { recursive: true, force: true });
await fake?.close();
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed > 0 ? 1 : 0);

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

async function signInQuietly() {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(link);
  await Promise.all([page.waitForURL(`${base}/`), page.locator("button").first().click()]);
  const got = await context.cookies();
  await context.close();
  return got;
}
