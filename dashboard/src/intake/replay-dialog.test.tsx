import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Replay, ReplayPlan } from "../api/types";
import { ReplayDialog } from "./replay-dialog";

const plan: ReplayPlan = {
  events: 3, jobs: 3, already_done: 1, at_least: false, rate_per_second: 50, duration_secs: 1,
  goals: [{ binding_id: "bnd_1", name: "crm", jobs: 3, already_done: 1 }],
};
const begun = {
  id: "rpl_1", state: "running", events: 1, selected: 3, selected_at_least: false, jobs: 1, done: 0, dead: 0, skipped: 0,
  cancelled: 0, unfinished: 1,
} as unknown as Replay;
let sent: Record<string, unknown>[];

beforeEach(() => {
  sent = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    const json = (body: unknown) => new Response(JSON.stringify(body), { headers: { "content-type": "application/json" } });
    if (request.method === "POST") {
      const body = (await request.json()) as Record<string, unknown>;
      sent.push(body);
      return json(body.plan ? plan : begun);
    }
    if (request.url.includes("/v1/replays/")) return json(begun);
    return json({ items: request.url.includes("endpoints") ? [{ id: "ep_1", name: "sandbox" }] : [], next_cursor: null });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const selection = { event_ids: ["evt_1", "evt_2", "evt_3"] };
const open = () =>
  render(
    <QueryClientProvider client={new QueryClient()}>
      <ReplayDialog selection={selection} onClose={() => {}} />
    </QueryClientProvider>,
  );

it("plans first, begins only when told to, and shows how far it is", async () => {
  open();
  const run = await screen.findByRole("button", { name: "Make 3 jobs" });
  expect(screen.getByText("crm (3)")).toBeTruthy();
  expect(sent).toEqual([{ selection, rate_per_second: 50, skip_done: false, plan: true }]);
  fireEvent.click(run);
  await screen.findByText(/1 job made from 1 event/);
  expect(sent.at(-1)).toMatchObject({ plan: false });
  expect(screen.getByText(/1 of 3 events/)).toBeTruthy();
});

it("plans anew for a sandbox and for what is left out", async () => {
  open();
  await screen.findByRole("button", { name: "Make 3 jobs" });
  await screen.findByRole("option", { name: /sandbox/ });
  fireEvent.change(screen.getByLabelText("Where to"), { target: { value: "ep_1" } });
  fireEvent.click(screen.getByLabelText("Leave out what is done already"));
  await screen.findByRole("button", { name: "Make 3 jobs" });
  expect(sent.at(-1)).toEqual({ selection, endpoint_id: "ep_1", rate_per_second: 50, skip_done: true, plan: true });
});
