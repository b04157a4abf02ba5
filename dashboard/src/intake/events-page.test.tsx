import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { EventsPage } from "./events-page";

const session = { user: null, role: "operator", tenant_id: null };
const plan = { events: 1, jobs: 0, already_done: 0, goals: [], at_least: false, rate_per_second: 50, duration_secs: 0, effects: null };
let planned: unknown[];

beforeEach(() => {
  planned = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/v1/replays") planned.push(((await request.json()) as { selection: unknown }).selection);
    const answers: Record<string, unknown> = { "/v1/session": session, "/v1/replays": plan };
    const answer = answers[pathname] ?? { items: [], next_cursor: null };
    return new Response(JSON.stringify(answer), { headers: { "content-type": "application/json" } });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  history.replaceState(null, "", "/");
});

it("replays what the list shows, whatever it was narrowed by", async () => {
  for (const by of ["violates", "conflicts"]) {
    history.replaceState(null, "", `/events?${by}=true&q=cus_1`);
    render(
      <QueryClientProvider client={new QueryClient()}>
        <EventsPage />
      </QueryClientProvider>,
    );
    fireEvent.click(await screen.findByText("Replay these…"));
    await waitFor(() => expect(planned.at(-1)).toMatchObject({ [by]: true, q: "cus_1" }));
    cleanup();
  }
});
