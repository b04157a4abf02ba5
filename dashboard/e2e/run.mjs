// The dashboard in a real browser. Against the fake API by default; against a real server with
//   MAINSTAY_URL=http://127.0.0.1:8080 MAINSTAY_SIGNIN_LINK=http://127.0.0.1:8080/signin/link?token=… npm run e2e
// Others: CHROMIUM (the browser), E2E_ONLY (a part of a test's name), E2E_SHOTS (a folder for pictures of failures).
//
// Tests that need the fake API's own switches (an empty installation, a failing one) are left out on a real server;
// tests that need data that is not there say so. Both count as skipped, not as passed.
import { availableParallelism } from "node:os";
import { assert, base, finish, hasSession, keepSession, link, signInQuietly, test, together, withPage } from "./browser.mjs";
import { failing, live, looks } from "./pages.mjs";
import { uses } from "./use.mjs";

/** One more than can run: some of the time is waiting. */
const AT_ONCE = Number(process.env.E2E_AT_ONCE ?? availableParallelism() + 1);

await test("signing in by link leads to the overview", () =>
  withPage({ signedIn: false }, async (page) => {
    await page.goto(link);
    await Promise.all([page.waitForURL(`${base}/`), page.locator("button[type=submit], button").first().click()]);
    await page.waitForSelector("main h1");
    const cookies = await page.context().cookies();
    keepSession(cookies);
    assert(cookies.length > 0, "no cookie was set");
  }));
if (!hasSession()) keepSession(await signInQuietly());

await test("without a session the dashboard leads to the sign-in page and remembers the way back", () =>
  withPage({ signedIn: false }, async (page) => {
    await page.goto(`${base}/events?status=error`);
    await page.waitForURL(/\/signin\?next=/);
    assert(new URL(page.url()).searchParams.get("next") === "/events?status=error", page.url());
  }));

// The long ones first, so that none of them is left alone at the end.
await together(AT_ONCE, [...live, ...looks, ...uses, ...failing]);
await import("./change.mjs");
await import("./trouble.mjs");
await finish();
