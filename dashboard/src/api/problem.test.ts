import { expect, it } from "vitest";
import { asApiError, problemOf } from "./problem";
import { shouldRetry } from "./queries";

it("reads problem+json, and how long to wait", async () => {
  const body = { type: "x", title: "Busy", status: 503, detail: "Come back.", code: "overloaded" };
  const error = await problemOf(new Response(JSON.stringify(body), { status: 503, headers: { "retry-after": "7" } }));
  expect(error.problem).toMatchObject({ title: "Busy", code: "overloaded", detail: "Come back." });
  expect(error.retryAfterSecs).toBe(7);
  expect(error.retryable).toBe(true);
});

it("says so when something in between answered", async () => {
  const error = await problemOf(new Response("<html>", { status: 502, statusText: "Bad Gateway" }));
  expect(error.problem).toMatchObject({ title: "Bad Gateway", code: "http_502" });
});

it("asks again only where that can help, and not for ever", async () => {
  const refused = await problemOf(new Response("{}", { status: 404 }));
  const busy = await problemOf(new Response("{}", { status: 503 }));
  expect([shouldRetry(0, refused), shouldRetry(0, busy), shouldRetry(2, busy), shouldRetry(0, new Error("x"))]).toEqual([false, true, false, false]);
});

it("turns a defect of the page into something that can be shown", () => {
  expect(asApiError(new Error("boom")).problem).toMatchObject({ code: "page_error", detail: "boom" });
});
