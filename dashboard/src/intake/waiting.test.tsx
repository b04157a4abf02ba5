import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Source } from "../api/types";
import { Waiting } from "./waiting";

let linked: unknown[];
const at = "2026-11-21T10:00:00Z";
const answers: Record<string, unknown> = {
  "/v1/sources/src_1/waiting": { items: [{ value: "acct_1", events: 42, oldest_event_id: "evt_1", oldest_received_at: at }], next_cursor: null },
  "/v1/tenants": { items: [{ id: "ten_1", name: "Acme", slug: "acme", created_at: at }], next_cursor: null },
  "/v1/session": { user: null, role: "owner", tenant_id: null },
  "/v1/sources/src_1/links": { added: 1, known: 0 },
};

beforeEach(() => {
  linked = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    if (request.method === "POST") linked.push(await request.json());
    return new Response(JSON.stringify(answers[new URL(request.url).pathname]), { headers: { "content-type": "application/json" } });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

it("says how many wait for which value, and links it to a tenant", async () => {
  render(
    <QueryClientProvider client={new QueryClient()}>
      <Waiting source={{ id: "src_1", name: "connect" } as Source} canWrite />
    </QueryClientProvider>,
  );
  expect(await screen.findByText("acct_1")).toBeTruthy();
  expect(screen.getByText(/42 events/)).toBeTruthy();
  fireEvent.click(screen.getByRole("button", { name: "Link acct_1" }));
  await screen.findByRole("option", { name: "Acme" });
  const link = screen.getByRole<HTMLButtonElement>("button", { name: "Link" });
  expect(link.disabled).toBe(true);
  fireEvent.change(screen.getByRole("combobox"), { target: { value: "ten_1" } });
  fireEvent.click(link);
  await vi.waitFor(() => expect(linked).toEqual([{ links: [{ value: "acct_1", tenant: "ten_1" }] }]));
});
