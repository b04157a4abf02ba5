import { type ReactNode, useEffect, useRef, useState } from "react";
import type { LiveList } from "../api/live-list";
import { count } from "../lib/format";
import { instant, oneOf, type Values } from "../lib/search-params";
import { Button } from "./basics";
import css from "./filters.module.css";
import { Input, Select } from "./form";
import { Icon } from "./icon";
import ui from "./ui.module.css";

export const FilterBar = ({ children }: { children: ReactNode }) => (
  <div className={css.bar} role="search" aria-label="Filters">{children}</div>
);
export const SecondBar = ({ children }: { children: ReactNode }) => <div className={css.second}>{children}</div>;

const TYPING_MS = 250;

/** Follows the URL, and writes to it when the typing pauses. */
function useTyped(value: string, onChange: (value: string) => void): [string, (value: string) => void, () => void] {
  const [typed, setTyped] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const latest = useRef(onChange);
  latest.current = onChange;
  useEffect(() => setTyped(value), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const send = (next: string) => {
    clearTimeout(timer.current);
    if (next !== value) latest.current(next);
  };
  return [
    typed,
    (next) => {
      setTyped(next);
      clearTimeout(timer.current);
      timer.current = setTimeout(() => send(next.trim()), TYPING_MS);
    },
    () => send(typed.trim()),
  ];
}

export function SearchBox({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  const [typed, setTyped, flush] = useTyped(value, onChange);
  return (
    <label className={`${css.wide} ${ui.searchBox}`}>
      <Icon name="search" />
      <input
        type="search"
        className={ui.input}
        data-search=""
        aria-label={label}
        placeholder={label}
        spellCheck={false}
        autoComplete="off"
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        onBlur={flush}
        onKeyDown={(event) => {
          if (event.key === "Enter") flush();
        }}
      />
      {typed === "" && <kbd aria-hidden="true">/</kbd>}
    </label>
  );
}

export function TextFilter({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  const [typed, setTyped, flush] = useTyped(value, onChange);
  return (
    <div>
      <Input
        aria-label={label}
        placeholder={label}
        autoComplete="off"
        value={typed}
        onChange={setTyped}
        onBlur={flush}
        onKeyDown={(event) => {
          if (event.key === "Enter") flush();
        }}
      />
    </div>
  );
}

export function ChoiceFilter({
  label,
  any,
  options,
  value,
  onChange,
}: {
  label: string;
  any: string;
  options: { value: string; label: string }[];
  value: string;
  onChange: (value: string) => void;
}) {
  // A value from a link that is no longer among the choices is shown all the same: it does filter.
  const known = value === "" || options.some((option) => option.value === value);
  return (
    <div>
      <Select
        aria-label={label}
        value={value}
        onChange={onChange}
        options={[{ value: "", label: any }, ...options, ...(known ? [] : [{ value, label: value }])]}
      />
    </div>
  );
}

export const periods = ["all", "1h", "24h", "7d", "custom"] as const;
type Period = (typeof periods)[number];
const periodSecs: Partial<Record<Period, number>> = { "1h": 3_600, "24h": 86_400, "7d": 604_800 };

/** The parameters of a list that can be narrowed to a period. */
export const periodParams = { period: oneOf(periods, "all"), from: instant(), to: instant() };

/** What the API is asked for, as of now. */
export function periodQuery(
  { period, from, to }: Values<typeof periodParams>,
  now: number,
): { from?: string; to?: string } {
  const secs = periodSecs[period];
  if (secs !== undefined) return { from: new Date(now - secs * 1000).toISOString() };
  if (period !== "custom") return {};
  return { from: from || undefined, to: to || undefined };
}

export function PeriodFilter({
  values,
  onChange,
}: {
  values: Values<typeof periodParams>;
  onChange: (change: Partial<Values<typeof periodParams>>) => void;
}) {
  return (
    <>
      <div>
        <Select
          aria-label="Period"
          value={values.period}
          onChange={(value) =>
            onChange(value === "custom" ? { period: "custom" } : { period: value as Period, from: "", to: "" })
          }
          options={[
            { value: "all", label: "Any time" },
            { value: "1h", label: "Last hour" },
            { value: "24h", label: "Last 24 hours" },
            { value: "7d", label: "Last 7 days" },
            { value: "custom", label: "From … to …" },
          ]}
        />
      </div>
      {values.period === "custom" && (
        <div className={css.instants}>
          <InstantFilter label="From" value={values.from} onChange={(from) => onChange({ from })} />
          <InstantFilter label="To" value={values.to} onChange={(to) => onChange({ to })} />
        </div>
      )}
    </>
  );
}

/** In the reader's own zone; the URL and the API have UTC. */
function InstantFilter({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  const local = value === "" ? "" : toLocalInput(value);
  return (
    <div>
      <Input
        type="datetime-local"
        step={1}
        aria-label={label}
        value={local}
        onChange={(next) => onChange(next === "" ? "" : new Date(next).toISOString())}
      />
    </div>
  );
}

export function toLocalInput(at: string): string {
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** New rows wait here until they are asked for, so that nothing moves under the pointer. Its place is kept free. */
export function Fresh({
  list: { fresh, freshIsAtLeast, showFresh },
  noun,
}: {
  list: Pick<LiveList<unknown>, "fresh" | "freshIsAtLeast" | "showFresh">;
  /** One of them. */
  noun: string;
}) {
  return (
    <div className={css.fresh}>
      {fresh > 0 ? (
        <Button small icon="plus" onClick={showFresh} data-show-fresh="">
          {`${count(fresh)}${freshIsAtLeast ? " or more" : ""} new ${fresh === 1 ? noun : `${noun}s`}`}
        </Button>
      ) : (
        <span>Newest first</span>
      )}
    </div>
  );
}
