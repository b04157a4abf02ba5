// What changes something, or needs the one clipboard that there is: one after the other.
import { api, assert, axe, fake, first, go, NARROW, noSidewaysScroll, skip, test, WIDE, withPage } from "./browser.mjs";

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

await test("a queue is paused and let run again", () =>
  withPage({}, async (page) => {
    await go(page, "/queues");
    const name = (await api(page, "/v1/queues")).items.find(({ flow }) => flow === "running");
    const called = name.endpoint_name ?? name.name;
    await page.getByRole("button", { name: called, exact: false }).first().click();
    await page.getByRole("heading", { name: `${called}: limits, and who uses it` }).waitFor();
    await axe(page, "a queue");
    await page.getByRole("button", { name: `Pause ${called}` }).click();
    await page.getByRole("button", { name: `Resume ${called}` }).waitFor();
    assert((await api(page, `/v1/queues/${encodeURIComponent(name.name)}`)).flow === "paused", "it is not paused");
    await page.getByRole("button", { name: `Resume ${called}` }).click();
    await page.getByRole("button", { name: `Pause ${called}` }).waitFor();
  }));

await test("a breaker is held open with a reason and given back", () =>
  withPage({}, async (page) => {
    await go(page, "/breakers");
    const breaker = (await api(page, "/v1/breakers")).items.find(({ state }) => state === "closed") ?? skip("no breaker is closed");
    await page.getByRole("button", { name: breaker.name, exact: true }).first().click();
    await page.getByRole("button", { name: "Hold open…" }).click();
    const dialog = page.getByRole("dialog", { name: `Hold ${breaker.name} open` });
    await dialog.getByRole("button", { name: "Hold open" }).click();
    await dialog.getByText(/1 to 500 characters/).first().waitFor();
    await dialog.getByLabel("Reason").fill("moved to another host");
    await axe(page, "holding a breaker");
    await dialog.getByRole("button", { name: "Hold open" }).click();
    await page.getByText(/moved to another host/).first().waitFor();
    const held = await api(page, `/v1/breakers/${encodeURIComponent(breaker.dependency)}`);
    assert(held.state === "open" && held.forced.reason === "moved to another host", "it is not held");
    await page.getByRole("table", { name: "History" }).getByText(/^held open by/).first().waitFor();
    await page.getByRole("button", { name: "Back to its own rule" }).click();
    await page.getByText(/^given back to its own rule by/).first().waitFor();
  }));

await test("the limits of a queue are set by keys alone, and taken away again", () =>
  withPage({}, async (page) => {
    const queue = (await api(page, "/v1/queues")).items.find(({ limits }) => limits.max_in_flight === null) ?? skip("every queue has limits of its own");
    const now = async () => (await api(page, `/v1/queues/${encodeURIComponent(queue.name)}`)).limits;
    await go(page, `/queues?queue=${encodeURIComponent(queue.name)}`);
    const limits = page.getByRole("button", { name: "Limits…" });
    await limits.focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: /^Limits of/ });
    await dialog.waitFor();
    // The first field has the focus.
    await page.keyboard.type("7");
    await page.keyboard.press("Tab");
    await page.keyboard.type("120");
    await page.keyboard.press("Tab");
    await page.keyboard.type("soon");
    await page.keyboard.press("Enter");
    await dialog.getByText(/must be a time such as/).waitFor();
    assert((await page.evaluate(() => document.activeElement.getAttribute("aria-invalid"))) === "true", "the mistake has not got the focus");
    await axe(page, "limits with a mistake");
    await page.keyboard.press("Control+a");
    await page.keyboard.type("2 min");
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "detached" });
    await page.getByText("7 at once", { exact: true }).waitFor();
    const set = await now();
    assert(set.max_in_flight === 7 && set.rate.count === 120 && set.rate.per_ms === 120_000, JSON.stringify(set));
    await page.waitForFunction(() => document.activeElement?.textContent.includes("Limits…"));
    await page.keyboard.press("Enter");
    await dialog.getByLabel("Jobs under way at once").fill("");
    await dialog.getByLabel("Jobs begun").fill(queue.limits.rate ? String(queue.limits.rate.count) : "");
    if (queue.limits.rate) {
      await dialog.getByLabel("In", { exact: true }).first().fill(`${queue.limits.rate.per_ms} ms`);
      await dialog.getByLabel("Burst").first().fill(String(queue.limits.rate.burst));
    }
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "detached" });
    assert(JSON.stringify(await now()) === JSON.stringify(queue.limits), `they are ${JSON.stringify(await now())}`);
  }));

await test("what may wait in a queue is set, told, and taken away", () =>
  withPage({ viewport: NARROW }, async (page) => {
    const queue = (await api(page, "/v1/queues")).items.find(({ limits }) => limits.max_waiting === null) ?? skip("every queue has limits of its own");
    const now = async () => (await api(page, `/v1/queues/${encodeURIComponent(queue.name)}`)).limits;
    await go(page, `/queues?queue=${encodeURIComponent(queue.name)}`);
    const limits = page.getByRole("button", { name: "Limits…" });
    await limits.click();
    const dialog = page.getByRole("dialog", { name: /^Limits of/ });
    await dialog.getByLabel("Jobs waiting").fill("900000");
    await dialog.getByLabel("The oldest waiting for").fill("15 min");
    await axe(page, "limits on what may wait");
    await dialog.getByRole("button", { name: "Save limits" }).click();
    await dialog.waitFor({ state: "detached" });
    await page.getByText(/^900.000 waiting, or the oldest waiting 15.min/).waitFor();
    const set = await now();
    assert(set.max_waiting === 900_000 && set.max_age_secs === 900, JSON.stringify(set));
    await limits.click();
    await dialog.getByLabel("Jobs waiting").fill("");
    await dialog.getByLabel("The oldest waiting for").fill("");
    await dialog.getByRole("button", { name: "Save limits" }).click();
    await dialog.waitFor({ state: "detached" });
    assert(JSON.stringify(await now()) === JSON.stringify(queue.limits), `they are ${JSON.stringify(await now())}`);
  }));

await test("the share of a tenant is set, and is the usual one again when it is taken from the list", () =>
  withPage({ viewport: NARROW }, async (page) => {
    const tenants = (await api(page, "/v1/tenants")).items;
    if (tenants.length < 2) skip("there is one tenant");
    const queue = await first(page, "/v1/queues", "queue");
    const weights = async () => (await api(page, `/v1/queues/${encodeURIComponent(queue.name)}`)).limits.weights;
    await go(page, `/queues?queue=${encodeURIComponent(queue.name)}`);
    await page.getByRole("button", { name: "Limits…" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Give a tenant another share").selectOption(tenants[1].id);
    await dialog.getByLabel(`Weight of ${tenants[1].name}`).fill("5");
    await noSidewaysScroll(page);
    await axe(page, "limits on a phone");
    await dialog.getByRole("button", { name: "Save limits" }).click();
    await dialog.waitFor({ state: "detached" });
    assert((await weights())[tenants[1].id] === 5, JSON.stringify(await weights()));
    await page.getByRole("button", { name: "Limits…" }).click();
    await dialog.getByRole("button", { name: `${tenants[1].name} as every other tenant` }).click();
    await dialog.getByRole("button", { name: "Save limits" }).click();
    await dialog.waitFor({ state: "detached" });
    assert((await weights())[tenants[1].id] === undefined, JSON.stringify(await weights()));
  }));

await test("a refused request says why, what to do next, and leads to the plan of verifying again", () =>
  withPage({}, async (page) => {
    const refused = await first(page, "/v1/receipts", "refused request");
    await go(page, `/sources/${refused.source_id}`);
    await page.locator(`[data-row="${refused.id}"] a`).first().click();
    await page.waitForURL((url) => url.pathname === `/receipts/${refused.id}`);
    const why = page.getByRole("group", { name: "Why it was refused" });
    await why.getByRole("heading", { name: "What to do next" }).waitFor();
    const { diagnosis } = await api(page, `/v1/receipts/${refused.id}`);
    await why.getByText(diagnosis.cause, { exact: true }).waitFor();
    await why.getByText(diagnosis.detail.slice(1, 40), { exact: false }).first().waitFor();
    for (const receipt of (await api(page, "/v1/receipts")).items.slice(0, 40)) {
      if ((await api(page, `/v1/receipts/${receipt.id}`)).diagnosis?.cause !== "wrong_secret") continue;
      await go(page, `/receipts/${receipt.id}`);
      await page.getByRole("button", { name: "Verify again…" }).click();
      await page.getByRole("dialog").getByRole("button", { name: /^Release \d+ requests?$/ }).waitFor();
      await page.getByRole("dialog").getByText("Refused requests", { exact: true }).waitFor();
      await axe(page, "the plan of verifying again");
      return;
    }
  }));

await test("a replay shows what built-in handlers would change, and makes nothing by it", () =>
  withPage({}, async (page) => {
    const built = (await api(page, "/v1/bindings?limit=200")).items.find(({ handler, enabled }) => enabled && handler.kind === "builtin") ?? skip("nothing leads to a built-in handler");
    const type = built.type_pattern.split(",")[0];
    const event = await first(page, `/v1/events?source=${built.source_name}&type=${encodeURIComponent(type)}`, "event for it");
    const jobs = (await api(page, `/v1/events/${event.id}`)).jobs_list.length;
    await go(page, `/events/${event.id}`);
    await page.getByRole("button", { name: "Replay…" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Show what would change" }).click();
    const effects = dialog.getByRole("region", { name: "What would change" });
    await effects.getByText(/nothing was made/).waitFor();
    await effects.getByText(built.name, { exact: false }).first().waitFor();
    await axe(page, "a dry run");
    await page.emulateMedia({ colorScheme: "dark" });
    await axe(page, "a dry run in the dark", { only: ["color-contrast"] });
    await page.setViewportSize(NARROW);
    await noSidewaysScroll(page);
    assert((await api(page, `/v1/events/${event.id}`)).jobs_list.length === jobs, "the dry run made jobs");
    // Another request is another dry run: this one's answer is not shown for it.
    await dialog.getByLabel("Leave out what is done already").check();
    await effects.waitFor({ state: "detached" });
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
    await axe(page, "the plan of a replay");
    assert((await api(page, `/v1/events/${event.id}`)).jobs_list.length === jobs, "the plan made jobs");
    await run.click();
    await page.getByText(/made from 1 event/).waitFor();
    assert((await api(page, `/v1/events/${event.id}`)).jobs_list.length > jobs, "no job was made");
    await page.getByRole("button", { name: "Close" }).last().click();
    await page.getByText(/^Replayed by/).waitFor();
  }));

await test("a schedule is made with its ticks in view, run, paused and deleted", () =>
  withPage({}, async (page) => {
    await go(page, "/schedules");
    const name = `browser-${Date.now()}`;
    await page.getByRole("button", { name: "New schedule" }).first().click();
    const dialog = page.getByRole("dialog", { name: "New schedule" });
    await dialog.getByLabel("Name").fill(name);
    await dialog.getByLabel("Cron expression").fill("0 2 *");
    await dialog.getByText(/must be five fields/).waitFor();
    await dialog.getByLabel("Cron expression").fill("0 2 * * *");
    await dialog.getByLabel("Time zone").fill("UTC");
    await dialog.getByRole("list", { name: "Next ticks" }).getByText(/02:00:00\+00:00/).first().waitFor();
    await dialog.getByLabel("What its jobs do").selectOption("noop");
    await dialog.getByLabel("Payload").fill("{");
    await dialog.getByRole("button", { name: "Create schedule" }).click();
    await dialog.getByText("is not JSON").waitFor();
    await dialog.getByLabel("Payload").fill('{ "of": "the browser" }');
    await axe(page, "the form of a schedule");
    await dialog.getByRole("button", { name: "Create schedule" }).click();
    await page.getByRole("heading", { name: new RegExp(name) }).waitFor();
    await page.getByText("It has not run yet").waitFor();
    await page.getByRole("button", { name: "Run now" }).click();
    await page.getByText("Run by hand").waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByRole("button", { name: "Resume" }).waitFor();
    await axe(page, "a schedule that is paused");
    await page.getByRole("button", { name: "Delete schedule…" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete schedule" }).click();
    await page.waitForURL((url) => url.pathname === "/schedules");
    assert(!(await api(page, "/v1/schedules?limit=200")).items.some((each) => each.name === name), "it is still there");
  }));

await test("a run of a saga is drawn, and goes on when a person approves", () =>
  withPage({}, async (page) => {
    const waiting = (await api(page, "/v1/saga-runs?state=waiting")).items[0] ?? skip("there is no run that waits");
    await go(page, "/sagas");
    await page.getByRole("group", { name: "A person is needed" }).getByRole("link", { name: waiting.key }).click();
    await page.waitForURL((url) => url.pathname === `/saga-runs/${waiting.id}`);
    await page.getByRole("img", { name: /reserve: done; look: running/ }).waitFor();
    await page.getByRole("button", { name: "Approve…" }).click();
    const dialog = page.getByRole("dialog", { name: "Approve this step" });
    await dialog.getByLabel("Reason").fill("the browser looked");
    await axe(page, "the approval of a step");
    await dialog.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("img", { name: /look: done/ }).waitFor();
    await page.getByText(/the browser looked/).waitFor();
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

await test("every setting of a source can be changed, and one that is wrong says so at its field", () =>
  withPage({}, async (page) => {
    await go(page, "/sources");
    const source = await first(page, "/v1/sources?limit=200", "source of this run", ({ name }) => name === `e2e-${stamp}`);
    const now = async () => (await api(page, `/v1/sources/${source.id}`)).settings;
    await go(page, `/sources/${source.id}`);
    const change = page.getByRole("group", { name: "Settings" }).getByRole("button", { name: "Change…" });
    await change.click();
    const dialog = page.getByRole("dialog", { name: `Settings of e2e-${stamp}` });
    await dialog.getByLabel("Largest body").fill("64 KiB");
    await dialog.getByLabel("Only from these addresses").fill("192.0.2.0/24");
    await dialog.getByLabel("Status").fill("500");
    await dialog.getByLabel("Content type").fill("text/plain");
    await dialog.getByRole("textbox", { name: "Body", exact: true }).fill("taken");
    await dialog.getByLabel("Where ids of objects stand").fill("{");
    const save = dialog.getByRole("button", { name: "Save settings" });
    await save.click();
    await dialog.getByText("is not JSON").waitFor();
    await dialog.getByLabel("Where ids of objects stand").fill('[{"name":"order","pointer":"/order/id"}]');
    await save.click();
    await dialog.getByText("must be between 200 and 299").first().waitFor();
    assert((await dialog.getByLabel("Status").getAttribute("aria-invalid")) === "true", "the field is not marked");
    await axe(page, "the settings of a source with a mistake");
    await page.setViewportSize(NARROW);
    await noSidewaysScroll(page);
    await page.setViewportSize(WIDE);
    await dialog.getByLabel("Status").fill("202");
    await save.click();
    await dialog.waitFor({ state: "detached" });
    const set = await now();
    assert(set.body_limit_bytes === 65_536 && set.answer.status === 202 && set.answer.body === "taken", JSON.stringify(set));
    assert(set.allow[0] === "192.0.2.0/24" && set.objects[0].name === "order" && set.tolerance_secs === source.settings.tolerance_secs, JSON.stringify(set));
    // Saved once more untouched, nothing is otherwise.
    await change.click();
    await save.click();
    await dialog.waitFor({ state: "detached" });
    assert(JSON.stringify(await now()) === JSON.stringify(set), JSON.stringify(await now()));
  }));

await test("an endpoint is changed, gets headers whose values nobody sees, and a new secret with an overlap", () =>
  withPage({}, async (page) => {
    await go(page, "/endpoints");
    await page.getByRole("button", { name: "New endpoint" }).first().click();
    await page.getByLabel("Name").fill(`e2e-set-${stamp}`);
    await page.getByLabel("URL").fill("https://example.com/hooks");
    await page.getByRole("button", { name: "Create endpoint" }).click();
    await page.getByRole("button", { name: "I have kept it" }).click();
    await page.locator("main h1", { hasText: `e2e-set-${stamp}` }).waitFor();
    const id = new URL(page.url()).pathname.split("/").at(-1);
    const now = () => api(page, `/v1/endpoints/${id}`);
    const before = await now();
    const dialog = page.getByRole("dialog");

    await page.getByRole("button", { name: "Change…", exact: true }).first().click();
    await dialog.getByLabel("Time for an answer").fill("1 ms");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.getByText(/between 100 and 120000/).first().waitFor();
    await dialog.getByLabel("Time for an answer").fill("2.5 s");
    await dialog.getByLabel("Tries in all").fill("4");
    await dialog.getByLabel("Delays").fill("5 s, 90 s, 12 h");
    await dialog.getByLabel("Opens after failures").fill("3");
    await axe(page, "the settings of an endpoint");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "detached" });
    const set = await now();
    assert(set.timeout_ms === 2_500 && set.breaker_settings.failures_to_open === 3, JSON.stringify(set));
    assert(JSON.stringify(set.retry.delays_ms) === "[5000,90000,43200000]" && set.retry.attempts_max === 4, JSON.stringify(set.retry));
    assert(set.connect_timeout_ms === before.connect_timeout_ms && set.url === before.url, "more was changed than was typed");

    await page.getByRole("button", { name: "Set header" }).click();
    await dialog.getByLabel("Header", { exact: true }).fill("Host");
    await dialog.getByLabel("Value").fill("x");
    await dialog.getByRole("button", { name: "Set header" }).click();
    await dialog.getByText(/is set by Mainstay or belongs to the connection/).first().waitFor();
    await dialog.getByLabel("Header", { exact: true }).fill("Authorization");
    await dialog.getByLabel("Value").fill(`a-value-of-${stamp}`);
    await dialog.getByRole("button", { name: "Set header" }).click();
    await dialog.waitFor({ state: "detached" });
    await page.getByRole("list", { name: "Headers of your own" }).getByText("authorization").waitFor();
    assert(!(await page.content()).includes(`a-value-of-${stamp}`), "the value is on the page");
    await page.getByRole("button", { name: "Remove the header authorization" }).click();
    await dialog.getByRole("button", { name: "Remove header" }).click();
    await page.getByRole("list", { name: "Headers of your own" }).waitFor({ state: "detached" });

    await page.getByRole("button", { name: "New secret…" }).click();
    await dialog.getByLabel("The old one signs along").selectOption({ label: "For an hour" });
    await axe(page, "a new secret of an endpoint");
    await dialog.getByRole("button", { name: "Make a new secret" }).click();
    await page.getByRole("button", { name: "I have kept it" }).click();
    const secrets = page.getByRole("list", { name: "Signing secrets" });
    await secrets.getByText(/signs along until/).waitFor();
    assert((await secrets.getByRole("listitem").count()) === 2, "there are not two secrets");
    await page.getByRole("button", { name: "End the overlap…" }).click();
    await dialog.getByRole("button", { name: "End the overlap" }).click();
    await secrets.getByText(/signs along until/).waitFor({ state: "detached" });

    await page.getByRole("button", { name: "Delete endpoint…" }).click();
    await dialog.getByRole("textbox").fill(`e2e-set-${stamp}`);
    await dialog.getByRole("button", { name: "Delete endpoint" }).click();
    await page.waitForURL(/\/endpoints$/);
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
    // Its order and its filter can be said later as well.
    await page.getByRole("button", { name: `Change e2e-${stamp}` }).click();
    await page.getByLabel("Filter").fill("body.amount > 10");
    await page.getByLabel("In order by").fill("/customer");
    await axe(page, "a binding that is changed");
    await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
    await page.getByText("in order by /customer").waitFor();
    const made = await first(page, "/v1/bindings?limit=200", "binding of this run", ({ name }) => name === `e2e-${stamp}`);
    assert(made.filter === "body.amount > 10" && made.ordering.key === "/customer" && made.ordering.on_dead === "park", JSON.stringify(made));
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
    // A limit of its own is said, shown, and taken back.
    const limits = page.getByRole("button", { name: `Requests of e2e ${stamp}` });
    const row = page.getByRole("row", { name: new RegExp(`e2e ${stamp}`) });
    await limits.click();
    await page.getByLabel("In a minute").fill("600");
    await page.getByLabel("Why").fill("the yearly import");
    await page.getByRole("button", { name: "Save limit" }).click();
    await row.getByText("600 writes").waitFor();
    await limits.click();
    await page.getByRole("dialog").getByText(/the yearly import/).waitFor();
    await page.getByRole("button", { name: "As all keys" }).click();
    await row.getByText("as all keys").waitFor();
    await page.getByRole("button", { name: `Delete e2e ${stamp}` }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete API key" }).click();
    await page.getByRole("button", { name: `Delete e2e ${stamp}` }).waitFor({ state: "detached" });
  }));

await test("a tenant is erased by keys alone, once its slug is typed", () =>
  withPage({}, async (page) => {
    if (!fake) skip("it would be erased");
    await go(page, "/settings/tenants");
    const tenant = await first(page, "/v1/tenants", "tenant");
    await page.getByRole("button", { name: `Erase the data of ${tenant.name}` }).focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: `Erase the data of ${tenant.name}` });
    await dialog.getByText(/a late redelivery is still a duplicate/).waitFor();
    await axe(page, "the question before a tenant is erased");
    await page.emulateMedia({ colorScheme: "dark" });
    await axe(page, "the same in the dark", { only: ["color-contrast"] });
    const erase = dialog.getByRole("button", { name: "Erase for ever" });
    assert(await erase.isDisabled(), "nothing is typed yet");
    await dialog.getByRole("textbox").fill(tenant.slug);
    await page.keyboard.press("Enter");
    await page.getByText(/can be read by nobody any more/).waitFor();
    await dialog.waitFor({ state: "hidden" });
  }));
