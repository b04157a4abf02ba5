import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { ReverifyAnswer, Source } from "../api/types";
import { ReverifyDialog } from "./reverify-dialog";

let sent: unknown[];
let answers: ReverifyAnswer[];
const answer = (with_: Partial<ReverifyAnswer>): ReverifyAnswer => ({
  examined: 0, genuine: 0, released: 0, duplicates: 0, conflicts: 0, still_refused: [], ...with_,
});
const wrong = (count: number) => [{ reason: "signature_wrong", count }];

beforeEach(() => {
  sent = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    sent.push(await request.json());
    return new Response(JSON.stringify(answers.shift()), { headers: { "content-type": "application/json" } });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const open = () =>
  render(
    <QueryClientProvider client={new QueryClient()}>
      <ReverifyDialog source={{ id: "src_1", name: "pay" } as Source} onClose={() => {}} />
    </QueryClientProvider>,
  );

it("plans first, goes on where a call ended, and releases only when told to", async () => {
  answers = [
    answer({ examined: 5_000, genuine: 2, still_refused: wrong(4_998), next: "rcp_1" }),
    answer({ examined: 3, genuine: 1, still_refused: wrong(2) }),
    answer({ examined: 5_003, genuine: 3, released: 2, duplicates: 1 }),
  ];
  open();
  const run = await screen.findByRole("button", { name: "Release 3 requests" });
  expect(screen.getByText("Still signature_wrong")).toBeTruthy();
  expect(sent).toEqual([{ plan: true }, { plan: true, after: "rcp_1" }]);
  fireEvent.click(run);
  await screen.findByText(/2 requests released/);
  expect(screen.getByText(/1 duplicate of what has come since/)).toBeTruthy();
  expect(sent[2]).toEqual({ plan: false });
});

it("releases nothing when nothing is genuine", async () => {
  answers = [answer({ examined: 2, still_refused: wrong(2) })];
  open();
  const run = await screen.findByRole<HTMLButtonElement>("button", { name: "Release 0 requests" });
  expect(run.disabled).toBe(true);
});
