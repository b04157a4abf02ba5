import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { AuditTab } from "./audit-tab";

let asked: string[];
const at = "2026-11-21T10:00:00Z";
const answers: Record<string, unknown> = {
  "/v1/audit": {
    items: [{ id: "aud_1", at, actor: "key:deploy", action: "event.read", subject: "evt_1", detail: null, tenant_id: null, position: 7 }],
    next_cursor: null,
  },
  "/v1/audit/head": { position: 7, hash: "ab".repeat(32), sealed_at: at },
  "/v1/tenants": { items: [], next_cursor: null },
  "/v1/session": { user: null, role: "viewer", tenant_id: null },
};

beforeEach(() => {
  asked = [];
  window.history.replaceState(null, "", "/settings/audit?actor=key%3Adeploy");
  vi.stubGlobal("fetch", async (request: Request) => {
    const url = new URL(request.url);
    if (url.pathname === "/v1/audit") asked.push(url.search);
    return new Response(JSON.stringify(answers[url.pathname]), { headers: { "content-type": "application/json" } });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  window.history.replaceState(null, "", "/");
});

it("asks for what stands in the URL, and writes there what is chosen", async () => {
  render(
    <QueryClientProvider client={new QueryClient()}>
      <AuditTab />
    </QueryClientProvider>,
  );
  expect(await screen.findByText("evt_1")).toBeTruthy();
  expect(asked[0]).toContain("actor=key%3Adeploy");
  expect(await screen.findByText(`7:${"ab".repeat(32)}`)).toBeTruthy();
  fireEvent.change(screen.getByRole("combobox", { name: "What" }), { target: { value: "event." } });
  await vi.waitFor(() => expect(asked.at(-1)).toContain("action=event."));
  expect(location.search).toContain("action=event.");
});
