// The keys of the page. Letters act only where nobody is typing, never with a modifier, and never over an open dialog.

export interface KeyAction {
  keys: string;
  does: string;
}

export const goTo: Record<string, { path: string; name: string }> = {
  o: { path: "/", name: "Overview" },
  e: { path: "/events", name: "Events" },
  j: { path: "/jobs", name: "Jobs" },
  d: { path: "/dead-letters", name: "Dead letters" },
  c: { path: "/schedules", name: "Schedules" },
  a: { path: "/sagas", name: "Sagas" },
  s: { path: "/sources", name: "Sources" },
  p: { path: "/endpoints", name: "Endpoints" },
  t: { path: "/settings", name: "Settings" },
};

export const help: KeyAction[] = [
  ...Object.entries(goTo).map(([key, { name }]) => ({ keys: `g ${key}`, does: name })),
  { keys: "/", does: "Search or filter" },
  { keys: "j", does: "Next row" },
  { keys: "k", does: "Previous row" },
  { keys: "Enter", does: "Open the row" },
  { keys: "x", does: "Select the row" },
  { keys: ".", does: "Show what is new in a list" },
  { keys: "?", does: "This help" },
];

const PREFIX_MS = 1500;

/** Turns key presses into intentions; keeps only whether a `g` was pressed a moment ago. */
export class Keys {
  private prefixAt = -Infinity;

  press(key: string, at: number): { type: "go"; path: string } | { type: "do"; key: string } | null {
    const prefixed = at - this.prefixAt < PREFIX_MS;
    this.prefixAt = -Infinity;
    if (prefixed) {
      const target = goTo[key];
      return target ? { type: "go", path: target.path } : null;
    }
    if (key === "g") {
      this.prefixAt = at;
      return null;
    }
    return ["/", "j", "k", "x", ".", "?"].includes(key) ? { type: "do", key } : null;
  }
}

export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.tagName === "TEXTAREA" || target.tagName === "SELECT") return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button"].includes(target.type);
}

/** Moves the focus among the rows of the list on the page. */
export function moveInList(by: 1 | -1, root: ParentNode = document): boolean {
  const rows = Array.from(root.querySelectorAll<HTMLElement>("main [data-row-link]"));
  if (rows.length === 0) return false;
  const active = document.activeElement;
  const at = rows.findIndex((row) => row === active || row.closest("[data-row]")?.contains(active ?? null));
  const next = at === -1 ? (by === 1 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1);
  rows[next]!.focus();
  rows[next]!.scrollIntoView({ block: "nearest" });
  return true;
}
