import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { look, ObjectIds, TimelinePage } from "./timeline-page";

const at = "2026-11-21T10:00:00Z";
const item = {
  id: "evt_1",
  tenant_id: "ten_1",
  source_id: "src_1",
  source_name: "stripe",
  provider_id: "evt_stripe",
  type: "invoice.paid",
  received_at: at,
  status: "success",
  objects: [
    { name: "object", id: "in_1" },
    { name: "customer", id: "cus_1" },
  ],
  steps: [
    { at, what: "request", id: "rcp_1", of: null, state: "accepted", text: "10 bytes from 192.0.2.1" },
    { at, what: "event", id: "evt_1", of: "rcp_1", state: "success", text: "invoice.paid evt_stripe" },
    { at, what: "job", id: "job_1", of: "evt_1", state: "done", text: "endpoint.deliver in shop" },
    { at, what: "attempt", id: "job_1", of: "job_1", state: "succeeded", text: "attempt 1, HTTP 200" },
  ],
  steps_truncated: false,
};
const timeline = {
  object: "cus_1",
  items: [item],
  related: [{ name: "object", id: "in_1", events: 1 }],
  index: { until: at, complete: false, reindexing: [{ source_id: "src_1", done: 3, total: 9 }] },
  next_cursor: null,
};

beforeEach(() => {
  vi.stubGlobal("fetch", async (request: Request) => {
    const answer = request.url.includes("/v1/timeline") ? timeline : { items: [{ id: "src_1", name: "stripe" }], next_cursor: null };
    return new Response(JSON.stringify(answer), { headers: { "content-type": "application/json" } });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  history.replaceState(null, "", "/");
});

const shown = (children: React.ReactNode) => render(<QueryClientProvider client={new QueryClient()}>{children}</QueryClientProvider>);

it("shows everything about an object, and why the newest may be missing", async () => {
  history.replaceState(null, "", "/timeline?object=cus_1");
  shown(<TimelinePage />);
  expect(await screen.findByText("attempt 1, HTTP 200")).toBeTruthy();
  expect(screen.getByText("newer events are still to come", { exact: false })).toBeTruthy();
  expect(screen.getByText("3 of 9", { exact: false })).toBeTruthy();
  const related = screen.getAllByRole("link", { name: "in_1" });
  expect(related[0]?.getAttribute("href")).toBe("/timeline?object=in_1");
});

it("asks for an id where there is none", () => {
  history.replaceState(null, "", "/timeline");
  shown(<TimelinePage />);
  expect(screen.getByText("Whose story?")).toBeTruthy();
});

it("writes ids into links so that they can be read again", () => {
  shown(<ObjectIds label="ids" objects={[{ name: "repository", id: "octo cat/hello" }]} />);
  expect(screen.getByRole("link").getAttribute("href")).toBe("/timeline?object=octo%20cat%2Fhello");
});

it("knows every kind of step", () => {
  for (const what of ["request", "event", "violation", "finding", "replay", "job", "attempt", "dead_letter"] as const) {
    expect(look({ what, state: "any" }).title).not.toBe("");
  }
});
