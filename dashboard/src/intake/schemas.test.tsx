import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Source } from "../api/types";
import { Schemas } from "./schemas";

let sent: unknown[];
const at = "2026-11-21T10:00:00Z";
const schema = {
  id: "sch_1",
  source_id: "src_1",
  types: "invoice.paid",
  version: 2,
  created_at: at,
  schema: { title: "new" },
  stats: { checked: 3, violated: 1, incomplete: 0, unchecked: 0 },
};
const versions = [
  { version: 2, created_at: at, schema: { title: "new" } },
  { version: 1, created_at: at, schema: { title: "old" } },
];
const answers: Record<string, unknown> = {
  "/v1/sources/src_1/schemas": { items: [schema], next_cursor: null },
  "/v1/sources/src_1/schemas/sch_1": { ...schema, versions },
};
const none = { score: null, numerator: 0, denominator: 0 };
const source = {
  id: "src_1",
  name: "stripe",
  stats: { quality: { completeness: none, accuracy: { score: 0.9999, numerator: 9999, denominator: 10000 }, freshness: none } },
} as unknown as Source;

beforeEach(() => {
  sent = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    const path = new URL(request.url).pathname;
    if (request.method === "POST") sent.push(await request.json());
    const answer = request.method === "POST" ? { ...schema, version: 3 } : answers[path];
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
      <Schemas source={source} canWrite={canWrite} />
    </QueryClientProvider>,
  );

it("says how good the data is, and never that nothing is perfect", async () => {
  shown(true);
  expect(await screen.findByText("invoice.paid")).toBeTruthy();
  expect(screen.getAllByText("no data")).toHaveLength(2);
  expect(screen.queryByText(/^100/)).toBeNull();
  expect(screen.getByText(/3 events checked/)).toBeTruthy();
});

it("goes back to an older version, which becomes the next one", async () => {
  shown(true);
  fireEvent.click(await screen.findByRole("button", { name: "Change the schema of invoice.paid" }));
  await screen.findByRole("option", { name: "1" });
  fireEvent.change(screen.getByRole("combobox"), { target: { value: "1" } });
  expect(screen.getByRole<HTMLTextAreaElement>("textbox").value).toContain("old");
  fireEvent.click(screen.getByRole("button", { name: "Save" }));
  await vi.waitFor(() => expect(sent).toEqual([{ types: "invoice.paid", schema: { title: "old" } }]));
});

it("sends nothing that is not JSON, and says so", async () => {
  shown(true);
  fireEvent.click(await screen.findByRole("button", { name: "Change the schema of invoice.paid" }));
  fireEvent.change(await screen.findByRole("textbox"), { target: { value: "{" } });
  fireEvent.click(screen.getByRole("button", { name: "Save" }));
  expect(await screen.findByText(/is not JSON/)).toBeTruthy();
  expect(sent).toEqual([]);
});

it("shows a viewer the schemas and nothing to change them", async () => {
  shown(false);
  fireEvent.click(await screen.findByRole("button", { name: "Show the schema of invoice.paid" }));
  expect(screen.queryByRole("button", { name: "Save" })).toBeNull();
  expect(screen.queryByRole("button", { name: "Add schema" })).toBeNull();
});
