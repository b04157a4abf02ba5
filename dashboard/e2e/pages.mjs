// Every page: what has to hold on all of them, in both themes, wide and narrow, at rest, live and failing.
import { api, assert, axe, fake, first, go, NARROW, noSidewaysScroll, settled, skip, WIDE, withPage } from "./browser.mjs";

const CLS_MAX = 0.01;
const LIVE_MS = Number(process.env.E2E_LIVE_MS ?? 5000);

/** Every page of the dashboard; those of one thing need one to be there. */
export const pages = [
  ["overview", () => "/"],
  ["overview of 7 days", () => "/?window=7d"],
  ["events", () => "/events"],
  ["events, filtered to none", () => "/events?q=there-is-no-such-event"],
  ["an event", async (page) => `/events/${(await first(page, "/v1/events?status=success", "event")).id}`],
  ["an event that failed", async (page) => `/events/${(await first(page, "/v1/events?status=error", "event with an error")).id}`],
  ["jobs", () => "/jobs"],
  ["a job", async (page) => `/jobs/${(await first(page, "/v1/jobs?state=done", "job")).id}`],
  ["queues", () => "/queues"],
  ["a queue", async (page) => `/queues?queue=${encodeURIComponent((await first(page, "/v1/queues", "queue")).name)}`],
  ["breakers", () => "/breakers"],
  ["a breaker", async (page) => `/breakers?breaker=${(await first(page, "/v1/breakers", "breaker")).dependency}`],
  ["a job in a worker's hands", async (page) => `/jobs/${(await first(page, "/v1/jobs?state=running", "job in hand", ({ kind }) => kind === "letter.print")).id}`],
  ["a job with a result", async (page) => `/jobs/${(await first(page, "/v1/jobs?kind=letter.print&state=done", "job with a result")).id}`],
  ["dead letters", () => "/dead-letters"],
  ["replays", () => "/replays"],
  ["schedules", () => "/schedules"],
  ["a schedule", async (page) => `/schedules/${(await first(page, "/v1/schedules", "schedule")).id}`],
  ["sagas", () => "/sagas"],
  ["a saga", async (page) => `/sagas/${(await first(page, "/v1/sagas", "saga")).id}`],
  ["a run that waits for a person", async (page) => `/saga-runs/${(await first(page, "/v1/saga-runs?state=waiting", "run that waits")).id}`],
  ["a run that failed", async (page) => `/saga-runs/${(await first(page, "/v1/saga-runs?state=failed", "run that failed")).id}`],
  ["no such run", () => "/saga-runs/run_00000000000000000000000000"],
  ["timeline", () => "/timeline"],
  ["timeline of an object", async (page) => `/timeline?object=${encodeURIComponent((await first(page, "/v1/events?status=success", "event")).id)}`],
  ["sources", () => "/sources"],
  ["a source", async (page) => `/sources/${(await first(page, "/v1/sources", "source", ({ scheme }) => scheme !== "mainstay")).id}`],
  ["a refused request", async (page) => `/receipts/${(await first(page, "/v1/receipts", "refused request")).id}`],
  ["a request of an event", async (page) => {
    const event = await first(page, "/v1/events?status=success", "event");
    return `/receipts/${(await api(page, `/v1/events/${event.id}`)).receipts[0].id}`;
  }],
  ["endpoints", () => "/endpoints"],
  ["an endpoint", async (page) => `/endpoints/${(await first(page, "/v1/endpoints", "endpoint")).id}`],
  ["users", () => "/settings/users"],
  ["keys", () => "/settings/keys"],
  ["tenants", () => "/settings/tenants"],
  ["audit", () => "/settings/audit"],
  ["encryption", () => "/settings/encryption"],
  ["system", () => "/settings/system"],
  ["no such page", () => "/no/such/page"],
  ["no such event", () => "/events/evt_00000000000000000000000000"],
];


/** What a table and a time owe to the reader. */
async function readable(page) {
  const wrong = await page.evaluate(() => {
    const numbers = [...document.querySelectorAll("[data-row] td")].filter((cell) => /^\d[\d,]*(\.\d+)?(%|[kMB])?$/.test(cell.innerText.trim()) && getComputedStyle(cell).textAlign !== "right");
    const times = [...document.querySelectorAll("main time")].filter(({ title }) => title === "");
    const past = [...document.querySelectorAll("main time")].filter((time) => /ago$/.test(time.innerText) && /(next|due)[^.]*$/i.test(time.previousSibling?.textContent ?? ""));
    const raw = [...document.querySelectorAll("main td, main li, main header")].filter(({ innerText }) => /endpoint:ep_/.test(innerText));
    const cut = [...document.querySelectorAll("[data-row] td")].filter((cell) => cell.querySelector("button") && cell.scrollWidth > cell.clientWidth + 1);
    const tell = (what) => (each) => `${what}: ${each.outerHTML.slice(0, 160)}`;
    return [
      ...numbers.map(tell("a number that is not right-aligned")),
      ...times.map(tell("a time without the exact one")),
      ...past.map(tell("something to come that is past")),
      ...raw.map(tell("a queue named by an id")),
      ...cut.map(tell("a button that is cut off")),
    ];
  });
  assert(wrong.length === 0, wrong.slice(0, 4).join("\n"));
}

export const looks = pages.map(([name, path]) => [
  `${name}: wide and narrow, light and dark: accessible, readable, nothing sideways`,
  () =>
    withPage({}, async (page) => {
      await go(page, await path(page));
      await noSidewaysScroll(page);
      await readable(page);
      await axe(page, `${name}, wide`);
      await page.emulateMedia({ colorScheme: "dark" });
      await axe(page, `${name}, wide, dark`, { only: ["color-contrast"] });
      // Measuring contrast is most of the work. The content's is the same at every width; the frame is another one.
      const frame = { only: ["color-contrast"], inside: "header, nav" };
      await page.setViewportSize(NARROW);
      await noSidewaysScroll(page);
      await axe(page, `${name}, narrow, dark`, frame);
      await page.emulateMedia({ colorScheme: "light" });
      await axe(page, `${name}, narrow`, { without: ["color-contrast"] });
      await axe(page, `${name}, narrow`, frame);
    }),
]);

const livePages = pages.slice(0, pages.findIndex(([each]) => each === "users")).filter(([each]) => !each.includes("none"));

export const live = [WIDE, NARROW].flatMap((viewport) =>
  livePages.map(([name, path]) => [
    `${name}: ${viewport.width} px: nothing moves while it is live`,
    () =>
      withPage({ viewport }, async (page) => {
        await go(page, await path(page));
        // Both waits are what is measured: for how long nothing moves.
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
  ]),
);

export const failing = pages
  // Without an object there is nothing that the timeline could ask the server for.
  .filter(([each]) => !/^(an?|no) /.test(each) && each !== "timeline")
  .map(([name, path]) => [
    `${name}: a server that fails is shown in its own words, with a way to try again`,
    async () => {
      if (!fake) skip("needs the fake API");
      await withPage({ viewport: NARROW }, async (page) => {
        // A server that fails could not be asked where the page is.
        const where = new URL(await path(page), fake.base).href;
        await page.context().addCookies([{ name: "fake", value: "failing", url: fake.base }]);
        await page.goto(where);
        await page.getByText("The database is not available", { exact: false }).first().waitFor({ timeout: 30_000 });
        await page.getByText("database_unavailable").first().waitFor();
        await noSidewaysScroll(page);
        await axe(page, name);
        await page.context().clearCookies({ name: "fake" });
        const again = page.getByRole("button", { name: "Try again" });
        for (let left = await again.count(); left > 0; left = await again.count()) {
          // What is live may have mended itself in the moment before; then the button is gone, which is as good.
          await again.first().click({ timeout: 2000 }).catch(() => {});
          await page.waitForFunction((before) => [...document.querySelectorAll("button")].filter(({ innerText }) => innerText.trim() === "Try again").length < before, left);
        }
        await settled(page);
      });
    },
  ]);
