import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Source } from "../api/types";
import { Expected, Rhythm, words } from "./rhythm";

vi.mock("../ui/chart", () => ({ default: ({ summary }: { summary: string }) => <p>{summary}</p> }));

const at = "2026-11-21T10:00:00Z";
const signal = { id: "rsg_1", kind: "silence", event_type: null, since: at, expected: 41.5, actual: 0, opened_at: at, ended_at: null };
const missing = (id: string, object: string) => ({
  id,
  tenant_id: "ten_1",
  rule: "paid",
  object,
  event_id: "evt_1",
  expected_type: "invoice.paid",
  began_at: at,
  due_at: at,
  acknowledged_at: null,
  acknowledged_by: null,
});
const type = (event_type: string | null) => ({ event_type, learning: false, last_event_at: at, actual: 12, expected: 14 });
const hour = { at, counted: 1, actual: 12, expected: 14, low: 6, high: 25 };

let sent: unknown[];
let asked: URL[];
let types: unknown[];

beforeEach(() => {
  sent = [];
  asked = [];
  types = [type(null), type("invoice.paid")];
  vi.stubGlobal("fetch", async (request: Request) => {
    const url = new URL(request.url);
    asked.push(url);
    if (request.method === "POST") sent.push(await request.json());
    const answer =
      request.method === "POST"
        ? { acknowledged: 1 }
        : url.pathname.endsWith("/signals")
          ? { items: [signal], next_cursor: null }
          : url.pathname.endsWith("/expected")
            ? { items: [missing("xpc_2", "bob"), missing("xpc_1", "ada")], next_cursor: null }
            : { counted_to: at, types, event_type: url.searchParams.get("event_type"), hours: types.length > 0 ? [hour] : [] };
    return new Response(JSON.stringify(answer), { headers: { "content-type": "application/json" } });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const source = { id: "src_1", name: "stripe" } as Source;
const within = (what: React.ReactNode) => render(<QueryClientProvider client={new QueryClient()}>{what}</QueryClientProvider>);

it("shows what came beside what was expected, of all types and of one", async () => {
  within(<Rhythm source={source} />);
  expect(await screen.findByText("12 came, about 14 were expected.")).toBeTruthy();
  expect(await screen.findByText(/all types: silent, nothing came where about/)).toBeTruthy();
  fireEvent.change(screen.getByRole("combobox"), { target: { value: "invoice.paid" } });
  await vi.waitFor(() => expect(asked.some((url) => url.searchParams.get("event_type") === "invoice.paid")).toBe(true));
  fireEvent.click(screen.getByRole("button", { name: "7 days" }));
  await vi.waitFor(() => expect(asked.some((url) => url.searchParams.get("window") === "week")).toBe(true));
});

it("says so where nothing has come yet", async () => {
  types = [];
  within(<Rhythm source={source} />);
  expect(await screen.findByText("Nothing has come yet")).toBeTruthy();
});

it("lists what is missing by its object, and acknowledges one or all of it", async () => {
  within(<Expected source={source} canWrite />);
  fireEvent.click(await screen.findByRole("button", { name: "Acknowledge ada" }));
  await vi.waitFor(() => expect(sent).toEqual([{ ids: ["xpc_1"] }]));
  const all = screen.getByRole<HTMLButtonElement>("button", { name: "Acknowledge all" });
  await vi.waitFor(() => expect(all.disabled).toBe(false));
  fireEvent.click(all);
  await vi.waitFor(() => expect(sent).toEqual([{ ids: ["xpc_1"] }, {}]));
});

it("shows a viewer what is missing, and nothing to acknowledge it with", async () => {
  within(<Expected source={source} canWrite={false} />);
  expect(await screen.findByText("bob")).toBeTruthy();
  expect(screen.queryAllByRole("button")).toHaveLength(0);
});

it("has words for silence and surge", () => {
  expect(words({ kind: "silence", event_type: "a.b", expected: 12, actual: 1 })).toBe("a.b: silent, 1 came where about 12 were expected");
  expect(words({ kind: "surge", event_type: null, expected: 2, actual: 90 })).toBe("all types: too many, 90 came where about 2 were expected");
});
