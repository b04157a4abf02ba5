import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { TenantsTab } from "./tenants-tab";

const tenant = { id: "ten_1", name: "Acme", slug: "acme", created_at: "2026-11-21T10:00:00Z" };
let role: string;
let on: boolean;
let sent: [string, unknown][];

beforeEach(() => {
  [role, on, sent] = ["owner", true, []];
  vi.stubGlobal("fetch", async (request: Request) => {
    const { pathname } = new URL(request.url);
    if (request.method === "POST") sent.push([pathname, await request.json()]);
    const answers: Record<string, unknown> = {
      "/v1/tenants": { items: [tenant], next_cursor: null },
      "/v1/session": { user: null, role, tenant_id: null },
      "/v1/vault": { on, whole: on, master_keys: [], rotation: null },
      "/v1/tenants/ten_1/erase": { tenant_id: "ten_1", keys_destroyed: 1 },
    };
    return new Response(JSON.stringify(answers[pathname]), { headers: { "content-type": "application/json" } });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const open = (client = new QueryClient()) =>
  render(
    <QueryClientProvider client={client}>
      <TenantsTab />
    </QueryClientProvider>,
  );
const erase = { name: "Erase the data of Acme" };

it("erases only once the slug is typed, and says what stays valid before", async () => {
  open();
  fireEvent.click(await screen.findByRole("button", erase));
  expect(await screen.findByText(/a late redelivery is still a duplicate/)).toBeTruthy();
  expect(screen.getByText(/Backups from before/)).toBeTruthy();
  const action = screen.getByRole<HTMLButtonElement>("button", { name: "Erase for ever" });
  expect(action.disabled).toBe(true);
  const field = screen.getByRole("textbox");
  fireEvent.change(field, { target: { value: "acm" } });
  expect(action.disabled).toBe(true);
  fireEvent.change(field, { target: { value: "acme" } });
  expect(action.disabled).toBe(false);
  // With the keyboard: Enter in the field.
  fireEvent.submit(field.closest("form") as HTMLFormElement);
  await vi.waitFor(() => expect(sent).toEqual([["/v1/tenants/ten_1/erase", { confirm: "acme" }]]));
});

it("leaves nothing in memory that other pages have read of the tenant", async () => {
  const client = new QueryClient();
  client.setQueryData(["event", "evt_1", "payload"], "what is erased");
  open(client);
  fireEvent.click(await screen.findByRole("button", erase));
  const field = await screen.findByRole("textbox");
  fireEvent.change(field, { target: { value: "acme" } });
  expect(client.getQueryData(["event", "evt_1", "payload"])).toBe("what is erased");
  fireEvent.submit(field.closest("form") as HTMLFormElement);
  await vi.waitFor(() => expect(client.getQueryData(["event", "evt_1", "payload"])).toBeUndefined());
  expect(await screen.findByText("Acme")).toBeTruthy();
});

it("offers it to owners alone, where something is sealed", async () => {
  role = "admin";
  open();
  await screen.findByText("Acme");
  expect(screen.queryByRole("button", erase)).toBeNull();
  cleanup();
  [role, on] = ["owner", false];
  open();
  await screen.findByRole("button", { name: "Delete Acme" });
  expect(screen.queryByRole("button", erase)).toBeNull();
});
