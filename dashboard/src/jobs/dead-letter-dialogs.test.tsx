import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { RetryDialog } from "./dead-letter-dialogs";

interface Sent {
  selection: unknown;
  plan: boolean;
  key: string | null;
}
let sent: Sent[];
let answers: (() => Response)[];
const json = (body: unknown, status = 200) => () =>
  new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
const plan = { matched: 3, retried: 0, by_reason: [{ category: "timeout", code: "timed_out", count: 2 }, { category: "auth", code: "http_401", count: 1 }] };

beforeEach(() => {
  sent = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    const body = (await request.json()) as { selection: unknown; plan: boolean };
    sent.push({ ...body, key: request.headers.get("idempotency-key") });
    return answers.shift()!();
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const open = (onClose: (done: boolean) => void = () => {}) =>
  render(
    <QueryClientProvider client={new QueryClient()}>
      <RetryDialog selection={{ category: "timeout" }} onClose={onClose} />
    </QueryClientProvider>,
  );

it("plans first, says how many and why, and runs the same selection only when told to", async () => {
  answers = [json(plan), json({ ...plan, retried: 3 })];
  open();
  const run = await screen.findByRole("button", { name: "Run 3 again" });
  expect(screen.getByText("timed_out")).toBeTruthy();
  expect(screen.getByText(/1 of them failed for a reason that time does not/)).toBeTruthy();
  expect(sent.map(({ plan: only }) => only)).toEqual([true]);
  fireEvent.click(run);
  await screen.findByText(/3 jobs will be tried again/);
  expect(sent[1]).toMatchObject({ selection: { category: "timeout" }, plan: false });
});

it("runs nothing when there is nothing", async () => {
  answers = [json({ matched: 0, retried: 0, by_reason: [] })];
  open();
  const run = await screen.findByRole<HTMLButtonElement>("button", { name: "Run 0 again" });
  expect(run.disabled).toBe(true);
});

it("shows what the server says, and sends the same key when the answer was lost", async () => {
  answers = [json(plan), json({ title: "Busy", status: 503, code: "overloaded", detail: "Come back." }, 503), json({ ...plan, retried: 3 })];
  open();
  fireEvent.click(await screen.findByRole("button", { name: "Run 3 again" }));
  await screen.findByText("Come back.");
  expect(screen.getByText("overloaded")).toBeTruthy();
  fireEvent.click(screen.getByRole("button", { name: "Try again" }));
  await screen.findByText(/3 jobs will be tried again/);
  expect(sent[2]!.key).toBe(sent[1]!.key);
  expect(sent[1]!.key).not.toBe(sent[0]!.key);
});

it("tells its page whether something was done", async () => {
  answers = [json(plan)];
  const onClose = vi.fn();
  open(onClose);
  await screen.findByRole("button", { name: "Run 3 again" });
  fireEvent.click(screen.getByRole("button", { name: "Cancel" }));
  await waitFor(() => expect(onClose).toHaveBeenCalledWith(false));
});

it("says honestly when the run differed from the plan", async () => {
  answers = [json(plan), json({ ...plan, matched: 2, retried: 2 })];
  open();
  fireEvent.click(await screen.findByRole("button", { name: "Run 3 again" }));
  await screen.findByText(/The plan had said 3/);
});
