import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Nodes } from "./nodes";

const node = (n: number, more: object = {}) => ({
  id: `node_${n}`,
  version: `0.${n}.0`,
  role: "stand_by",
  this: false,
  address: null,
  since: "2026-11-21T10:00:00Z",
  last_seen_at: "2026-11-21T10:00:00Z",
  silent: false,
  ...more,
});
let items: object[];
let tenant: string | null;
let asked: string[];

beforeEach(() => {
  [items, tenant, asked] = [[], null, []];
  vi.stubGlobal("fetch", async (request: Request) => {
    const { pathname } = new URL(request.url);
    asked.push(pathname);
    const answers: Record<string, unknown> = {
      "/v1/nodes": { items, next_cursor: null },
      "/v1/session": { user: null, role: "owner", tenant_id: tenant },
    };
    return new Response(JSON.stringify(answers[pathname]), { headers: { "content-type": "application/json" } });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const open = () =>
  render(
    <QueryClientProvider client={new QueryClient()}>
      <Nodes />
    </QueryClientProvider>,
  );

it("says of each node what it is to the jobs, and which one answers", async () => {
  items = [node(1, { role: "owner", address: "http://10.0.0.1:8421" }), node(2, { this: true }), node(3, { silent: true })];
  open();
  const rows = await screen.findAllByText(/^node_/);
  expect(rows.map((row) => row.textContent)).toEqual(["node_1", "node_2 (this one)", "node_3"]);
  for (const words of ["Owns the jobs", "Stands by", "Silent", "http://10.0.0.1:8421", "0.2.0"]) {
    expect(screen.getAllByText(words).length).toBe(1);
  }
});

it("says nothing of a node that is alone", async () => {
  items = [node(1, { role: "owner", this: true })];
  const { container } = open();
  await waitFor(() => expect(asked).toContain("/v1/nodes"));
  await new Promise((resolve) => setTimeout(resolve));
  expect(container.textContent).toBe("");
});
