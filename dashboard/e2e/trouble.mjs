// What only the fake API can be told to do, and does for everybody at once.
import { axe, fake, go, NARROW, noSidewaysScroll, skip, tell, test, WIDE, withPage } from "./browser.mjs";

await test("an empty installation says on every page what to do next", async () => {
  if (!fake) skip("needs the fake API");
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
      await page.setViewportSize(WIDE);
      await go(page, path);
      await page.getByText(words, { exact: false }).first().waitFor();
      if (command) await page.getByText(command, { exact: false }).first().waitFor();
      for (const viewport of [WIDE, NARROW]) {
        await page.setViewportSize(viewport);
        await noSidewaysScroll(page);
        await axe(page, `${path} of an empty installation`);
      }
    }
  }).finally(() => tell({ world: "full" }));
});
