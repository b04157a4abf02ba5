import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, expect, it, vi } from "vitest";
import type { LiveList } from "../api/live-list";
import { LiveTable } from "./live-table";

afterEach(cleanup);

const list = (rows: string[], more: Partial<LiveList<string>["more"]> = {}): LiveList<string> => ({
  rows,
  fresh: 0,
  freshIsAtLeast: false,
  gone: new Set(),
  showFresh: () => undefined,
  reload: () => undefined,
  error: null,
  more: { has: false, loading: false, load: () => undefined, ...more },
});

const shown = (of: LiveList<string>) =>
  render(
    <LiveTable
      list={of}
      label="Events"
      noun="event"
      columns={[{ key: "name", label: "Name", cell: (row: string) => row }]}
      idOf={(row) => row}
      filters={{ filtered: true, clear: () => undefined }}
      none={<p>none at all</p>}
    />,
  );

it("a look that found nothing says how far it came, and goes on", () => {
  const load = vi.fn();
  shown(list([], { has: true, load, lookedBackTo: "2026-11-22T03:00:00Z" }));
  expect(screen.queryByText("No event matches these filters")).toBeNull();
  expect(screen.getByText("No event found so far")).toBeTruthy();
  expect(document.querySelector("time")?.dateTime).toBe("2026-11-22T03:00:00Z");
  fireEvent.click(screen.getByRole("button", { name: "Look further back" }));
  expect(load).toHaveBeenCalledOnce();
});

it("an empty last page says that there are none", () => {
  shown(list([]));
  expect(screen.getByText("No event matches these filters")).toBeTruthy();
});

it("a page that ended early says how far it came below its rows", () => {
  shown(list(["evt_1"], { has: true, lookedBackTo: "2026-11-22T03:00:00Z" }));
  expect(screen.getByText(/The first 1 event/).textContent).toContain("looked back to");
  expect(screen.getByRole("button", { name: "Look further back" })).toBeTruthy();
});
