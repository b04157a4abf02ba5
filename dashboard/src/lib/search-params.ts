// Filters live in the URL: a link to a list is a link to what its sender saw. A page says which parameters it knows
// and of what kind; a value that does not fit (an old link, a typing error) counts as absent.
import { useCallback, useMemo, useRef } from "react";
import { useLocation, useSearch } from "wouter";

export interface Param<T> {
  fallback: T;
  read(text: string): T | undefined;
  write(value: T): string;
}

export type Params = Record<string, Param<never> | Param<string>>;
type ValueOf<P> = P extends Param<infer T> ? T : never;
export type Values<S> = { [K in keyof S]: ValueOf<S[K]> };

export const text = (fallback = ""): Param<string> => ({
  fallback,
  read: (value) => value,
  write: (value) => value,
});

export const oneOf = <const T extends string>(values: readonly T[], fallback: NoInfer<T>): Param<T> => ({
  fallback,
  read: (value) => values.find((one) => one === value),
  write: (value) => value,
});

/** An instant, as the API takes it. */
export const instant = (): Param<string> => ({
  fallback: "",
  read: (value) => (Number.isNaN(Date.parse(value)) ? undefined : value),
  write: (value) => value,
});

/** What is set, as a query for the API: an empty value asks for nothing. */
export function given<V extends Record<string, string>>(values: V): { [K in keyof V]?: Exclude<V[K], ""> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== "")) as { [K in keyof V]?: Exclude<V[K], ""> };
}

export function readParams<S extends Record<string, Param<any>>>(spec: S, search: string): Values<S> {
  const given = new URLSearchParams(search);
  const values: Record<string, unknown> = {};
  for (const [name, param] of Object.entries(spec)) {
    const raw = given.get(name);
    values[name] = (raw === null ? undefined : param.read(raw)) ?? param.fallback;
  }
  return values as Values<S>;
}

/** The query string after a change. Fallbacks are left out, parameters of others stay. */
export function writeParams<S extends Record<string, Param<any>>>(
  spec: S,
  search: string,
  change: Partial<Values<S>>,
): string {
  const next = new URLSearchParams(search);
  for (const [name, value] of Object.entries(change)) {
    const param = spec[name];
    if (param === undefined) continue;
    if (value === undefined || value === param.fallback) next.delete(name);
    else next.set(name, param.write(value));
  }
  return next.toString();
}

/** The page's parameters, and how to change them. Typing replaces the history entry, choosing adds one. */
export function useParamsInUrl<S extends Record<string, Param<any>>>(
  spec: S,
): [Values<S>, (change: Partial<Values<S>>, how?: { replace?: boolean }) => void] {
  const search = useSearch();
  const [path, navigate] = useLocation();
  const specRef = useRef(spec);
  const values = useMemo(() => readParams(specRef.current, search), [search]);
  const change = useCallback(
    (patch: Partial<Values<S>>, how?: { replace?: boolean }) => {
      // From the location itself, not from the render: two changes may come before the next one.
      const next = writeParams(specRef.current, location.search, patch);
      navigate(next ? `${path}?${next}` : path, how);
    },
    [path, navigate],
  );
  return [values, change];
}

/** The filters of a list: parameters of which any may be set, and all can be cleared. */
export function useFilters<S extends Record<string, Param<any>>>(spec: S) {
  const [values, change] = useParamsInUrl(spec);
  const fallbacks = Object.fromEntries(Object.entries(spec).map(([name, { fallback }]) => [name, fallback])) as Values<S>;
  return {
    values,
    change,
    filtered: Object.keys(spec).some((name) => values[name] !== fallbacks[name]),
    clear: () => change(fallbacks),
  };
}
