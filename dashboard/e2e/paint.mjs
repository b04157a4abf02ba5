// How soon the dashboard shows something, and how soon what was asked for, each time with an empty cache: the bar of
// "first paint" (1 s). `make paint` runs it on the demo's data; by itself it looks at MAINSTAY_URL, or at the fake API.
import { assert, base, finish, first, go, keepSession, settled, signInQuietly, test, withPage } from "./browser.mjs";

const TIMES = Number(process.env.TIMES ?? 11);
const BAR_MS = 1000;

keepSession(await signInQuietly());

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
const inOrder = (times) => times.sort((a, b) => a - b);
const shown = (ms) => `${ms.toFixed(0).padStart(5)} ms`;

let event;
await withPage({}, async (page) => {
  await go(page, "/events");
  event = await first(page, "/v1/events?limit=1", "event");
});
const pages = { overview: "/", events: "/events", "an event": `/events/${event.id}`, "dead letters": "/dead-letters", sources: "/sources" };
const slowest = { paint: 0, whole: 0 };
for (const [name, path] of Object.entries(pages)) {
  await test(`first paint of ${name}`, async () => {
    const [paints, wholes] = [[], []];
    for (let time = 0; time < TIMES; time += 1) {
      // A context of its own: nothing is cached.
      await withPage({}, async (page) => {
        await page.goto(base + path, { waitUntil: "commit" });
        await page.waitForSelector("main h1");
        await settled(page);
        const { paint, whole } = await page.evaluate(() => ({
          paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
          whole: performance.now(),
        }));
        assert(paint > 0, "the browser reports no paint");
        paints.push(paint);
        wholes.push(whole);
      });
    }
    const [paint, whole] = [at(inOrder(paints), 0.5), at(inOrder(wholes), 0.5)];
    slowest.paint = Math.max(slowest.paint, paint);
    slowest.whole = Math.max(slowest.whole, whole);
    console.log(`      first paint ${shown(paint)} (most ${shown(paints.at(-1))})   everything ${shown(whole)} (most ${shown(wholes.at(-1))})`);
    assert(paint < BAR_MS, `a paint takes ${paint.toFixed(0)} ms, and may take ${BAR_MS}`);
  });
}
console.log(
  JSON.stringify({
    bench: "paint", database: process.env.DATABASE ?? null, value: Math.round(slowest.paint), unit: "ms", reference: Math.round(slowest.whole), ratio: null,
    p50_ms: Math.round(slowest.paint), p99_ms: null, peak_rss_mib: null, bar: BAR_MS, holds: slowest.paint < BAR_MS,
  }),
);
await finish();
