// What a reader does who changes nothing: such tests may run at the same time.
import { api, assert, axe, fake, first, go, NARROW, settled, skip, tell, withPage } from "./browser.mjs";

export const uses = [
  ["the overview is live: numbers change without a reload, and it says so", () =>
    withPage({}, async (page) => {
      await go(page, "/");
      await page.getByText("Live", { exact: true }).first().waitFor();
      const tiles = page.getByRole("group", { name: "Now" });
      await page.waitForFunction(() => !document.body.innerText.includes("waiting for the live connection"));
      if (!fake) return;
      const before = await tiles.innerText();
      await page.waitForFunction((old) => document.querySelector("[role=group][aria-label=Now]").innerText !== old, before, { timeout: 15_000 });
    })],
  ["the window of the overview lives in the URL", () =>
    withPage({}, async (page) => {
      await go(page, "/");
      await page.getByRole("button", { name: "24 hours" }).click();
      await page.waitForURL(/window=24h/);
      await page.reload();
      await page.waitForSelector("main h1");
      assert((await page.getByRole("button", { name: "24 hours" }).getAttribute("aria-pressed")) === "true", "not pressed after a reload");
    })],
  ["a chart can be read as a table", () =>
    withPage({}, async (page) => {
      await go(page, "/");
      await page.getByRole("button", { name: "Table" }).first().click();
      await page.getByRole("group", { name: "Values" }).getByRole("columnheader", { name: "Received" }).waitFor();
      await axe(page, "chart as a table");
    })],
  ["filters of events live in the URL and survive a reload", () =>
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
    })],
  ["a search finds an event by its provider's id, and no other", () =>
    withPage({}, async (page) => {
      await go(page, "/events");
      const event = await first(page, "/v1/events", "event");
      await page.keyboard.press("/");
      await page.keyboard.type(event.provider_id);
      await page.waitForURL((url) => url.searchParams.get("q") === event.provider_id);
      await page.waitForFunction(
        (id) => [...document.querySelectorAll("[data-row]")].map((row) => row.dataset.row).join() === id,
        event.id,
      );
    })],
  ["more of a list is loaded on demand", () =>
    withPage({}, async (page) => {
      await go(page, "/events");
      const more = page.getByRole("button", { name: "Load more" });
      if (!(await more.isVisible())) skip("there is only one page of events");
      const before = await page.locator("[data-row]").count();
      await more.click();
      await page.waitForFunction((count) => document.querySelectorAll("[data-row]").length > count, before);
    })],
  ["new events are announced, not thrown in, and shown with one key", () =>
    withPage({}, async (page) => {
      if (!fake) skip("needs traffic");
      await go(page, "/events");
      const top = await page.locator("[data-row]").first().getAttribute("data-row");
      const button = page.locator("[data-show-fresh]");
      await button.waitFor();
      assert((await page.locator("[data-row]").first().getAttribute("data-row")) === top, "the list moved by itself");
      await page.keyboard.press(".");
      await page.waitForFunction((old) => document.querySelector("[data-row]").dataset.row !== old, top);
    })],
  ["the whole dashboard can be driven by keys", () =>
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
    })],
  ["keys do nothing while somebody types", () =>
    withPage({}, async (page) => {
      await go(page, "/events");
      await page.keyboard.press("/");
      await page.keyboard.type("gj?");
      assert(new URL(page.url()).pathname === "/events", "typing led away");
      assert((await page.locator("[data-search]").inputValue()) === "gj?", "the letters did not arrive");
      await page.keyboard.press("Escape");
      assert((await page.evaluate(() => document.activeElement.tagName)) !== "INPUT", "Escape does not leave the field");
    })],
  ["the focus stays in a dialog and comes back", () =>
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
      await axe(page, "a dialog");
      await page.keyboard.press("Escape");
      await page.getByRole("dialog").waitFor({ state: "detached" });
      await page.waitForFunction(() => document.activeElement?.textContent.includes("New source"));
    })],
  ["the theme can be chosen, is kept, and is there in the first frame", () =>
    withPage({ colorScheme: "light" }, async (page) => {
      await go(page, "/");
      const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
      const light = await background();
      await page.getByRole("button", { name: /Account and appearance/ }).locator("visible=true").click();
      await axe(page, "the menu");
      await page.getByRole("menuitemradio", { name: "Dark" }).click();
      await page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
      const dark = await background();
      assert(dark !== light, "nothing changed");
      await page.reload({ waitUntil: "commit" });
      await page.waitForSelector("main h1");
      assert((await background()) === dark, "it was forgotten");
    })],
  ["a phone has every page within two presses", () =>
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
    })],
  ["who asks for less motion gets none", () =>
    withPage({ reducedMotion: "reduce" }, async (page) => {
      await go(page, "/sources");
      await page.getByRole("button", { name: "New source" }).first().click();
      await page.getByRole("dialog").waitFor();
      const longest = await page.evaluate(() => Math.max(...[...document.querySelectorAll("*")].map((each) => Math.max(parseFloat(getComputedStyle(each).transitionDuration), parseFloat(getComputedStyle(each).animationDuration)))));
      assert(longest <= 0.001, `something moves for ${longest} s`);
    })],

  ["one key leads to the search of every list, and Escape out of it", () =>
    withPage({}, async (page) => {
      for (const path of ["/events", "/jobs", "/dead-letters"]) {
        await go(page, path);
        await page.keyboard.press("/");
        assert(await page.evaluate(() => document.activeElement.matches("main [data-search]")), `${path} has no search that / leads to`);
        await page.keyboard.press("Escape");
        assert(await page.evaluate(() => !document.activeElement.matches("input")), `Escape does not leave the search of ${path}`);
      }
    })],

  ["a queue is chosen by its endpoint's name, and let go by the same button", () =>
    withPage({}, async (page) => {
      await go(page, "/jobs");
      const endpoints = (await api(page, "/v1/endpoints")).items;
      const queues = Object.keys((await api(page, "/v1/job-counts")).queues);
      const endpoint = endpoints.find(({ id }) => queues.includes(`endpoint:${id}`)) ?? skip("no endpoint has a queue");
      const button = page.getByRole("list", { name: "Queues" }).getByRole("button", { name: new RegExp(`^endpoint ${endpoint.name} `) });
      await button.click();
      await page.waitForURL((url) => url.searchParams.get("queue") === `endpoint:${endpoint.id}`);
      assert((await button.getAttribute("aria-pressed")) === "true", "it does not look chosen");
      await button.click();
      await page.waitForURL((url) => !url.searchParams.has("queue"));
    })],

  ["the counts of the reasons stand one below the other", () =>
    withPage({}, async (page) => {
      await go(page, "/dead-letters");
      const edges = await page.evaluate(() =>
        [...document.querySelectorAll("ul[aria-label=Reasons] button")].map(({ firstElementChild }) => {
          const text = document.createRange();
          text.selectNodeContents(firstElementChild);
          return text.getBoundingClientRect().right;
        }),
      );
      if (edges.length < 2) skip("there are not two reasons");
      assert(Math.max(...edges) - Math.min(...edges) < 1, `they end at ${edges.join(", ")}`);
    })],

  ["a lost connection is said, and mended without a reload", async () => {
    if (!fake) skip("needs the fake API");
    await withPage({ fakeMode: "unheard" }, async (page) => {
      await go(page, "/");
      await page.getByText("Live", { exact: true }).first().waitFor();
      // The page tries by itself as well: where it was faster than the button, once more.
      let clicked = false;
      for (let round = 0; round < 5 && !clicked; round += 1) {
        await tell({ cutOff: "unheard" });
        await page.getByText("No live connection to Mainstay", { exact: false }).waitFor({ timeout: 30_000 });
        await page.getByText("Offline", { exact: true }).first().waitFor();
        if (round === 0) await axe(page, "offline");
        await tell({ reconnect: "unheard" });
        const click = page.getByRole("button", { name: "Try now" }).click({ timeout: 3_000 });
        clicked = await click.then(() => true, () => false);
        await page.getByText("Live", { exact: true }).first().waitFor({ timeout: 30_000 });
      }
      assert(clicked, "the button was never there to be clicked");
    });
  }],
];
