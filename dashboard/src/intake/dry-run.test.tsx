import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, expect, it } from "vitest";
import type { ReplayDryJob } from "../api/types";
import { DryRun, fateOf, tallyOf } from "./dry-run";

const job = (given: Partial<ReplayDryJob>): ReplayDryJob => ({ event_id: "evt_1", type: "invoice.paid", name: "money", kind: "billing.record", ...given });
const row = { amount_minor: 1200, currency: "EUR" };
const jobs: ReplayDryJob[] = [
  job({ changes: [{ what: "billing event", before: null, after: row }] }),
  job({ changes: [{ what: "billing event", before: row, after: { ...row, amount_minor: 1300 } }, { what: "balance", before: row, after: row }] }),
  job({ name: "crm", kind: "endpoint.deliver", changes: null }),
  job({ failure: { code: "validation_failed", error: "no amount" } }),
];

afterEach(cleanup);

it("tells a row that comes from one that goes, changes or stays", () => {
  expect([{ before: null, after: row }, { before: row }, { before: row, after: { ...row } }, { before: row, after: {} }].map((each) => fateOf({ what: "row", ...each }))).toEqual([
    "added",
    "gone",
    "same",
    "changed",
  ]);
});

it("counts what would happen, and owns up to what nobody can tell", () => {
  expect(tallyOf(jobs)).toBe("1 row added, 1 row changed, 1 row as it is, 1 job would fail; nobody can tell what 1 job would do");
});

it("tries nothing until it is asked to, and then says place by place what would change", async () => {
  let runs = 0;
  const run = async () => {
    runs += 1;
    return { events: 2, jobs, more: false };
  };
  render(
    <QueryClientProvider client={new QueryClient()}>
      <DryRun run={run} disabled={false} />
    </QueryClientProvider>,
  );
  expect(runs).toBe(0);
  fireEvent.click(screen.getByRole("button", { name: "Show what would change" }));
  await screen.findByText(/Tried on 2 events/);
  expect(runs).toBe(1);
  const changed = screen.getAllByRole("group", { name: "billing event, place by place" })[1]!;
  expect(changed.textContent).toBe("− amount_minor: 1200\n+ amount_minor: 1300\n");
  expect(screen.getByText(/no amount/)).toBeTruthy();
  expect(screen.queryByText("nobody can tell what it does")).toBeNull();
  fireEvent.click(screen.getByRole("button", { name: "Show all 4 jobs" }));
  expect(screen.getByText("nobody can tell what it does")).toBeTruthy();
});
