import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Source } from "../api/types";
import { Drift, what } from "./drift";

let sent: unknown[];
const at = "2026-11-21T10:00:00Z";
const found = (id: string, path: string) => ({
  id,
  event_type: "invoice.paid",
  kind: "new_field",
  path,
  before: "",
  after: "string",
  event_id: "evt_1",
  found_at: at,
  acknowledged_at: null,
  acknowledged_by: null,
});

beforeEach(() => {
  sent = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    if (request.method === "POST") sent.push(await request.json());
    const answer = request.method === "POST" ? { acknowledged: 1 } : { items: [found("drf_2", "/data/b"), found("drf_1", "/data/a")], next_cursor: null };
    return new Response(JSON.stringify(answer), { headers: { "content-type": "application/json" } });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const shown = (canWrite: boolean) =>
  render(
    <QueryClientProvider client={new QueryClient()}>
      <Drift source={{ id: "src_1", name: "stripe" } as Source} canWrite={canWrite} />
    </QueryClientProvider>,
  );

it("shows what is new, and acknowledges one or all of it", async () => {
  shown(true);
  fireEvent.click(await screen.findByRole("button", { name: "Acknowledge /data/a" }));
  await vi.waitFor(() => expect(sent).toEqual([{ ids: ["drf_1"] }]));
  const all = screen.getByRole<HTMLButtonElement>("button", { name: "Acknowledge all" });
  await vi.waitFor(() => expect(all.disabled).toBe(false));
  fireEvent.click(all);
  await vi.waitFor(() => expect(sent).toEqual([{ ids: ["drf_1"] }, {}]));
});

it("shows a viewer what is new, and nothing to acknowledge it with", async () => {
  shown(false);
  expect(await screen.findByText("/data/b")).toBeTruthy();
  expect(screen.queryAllByRole("button")).toHaveLength(0);
});

it("has words for everything that can be new", () => {
  expect(what({ kind: "new_type", before: "", after: "a.b" })).toBe("a new type of event");
  expect(what({ kind: "new_field", before: "", after: "object" })).toBe("a new field: object");
  expect(what({ kind: "field_type", before: "number", after: "string" })).toBe("was number, is string");
  expect(what({ kind: "api_version", before: "1", after: "2" })).toBe("API version 1, now 2");
});
