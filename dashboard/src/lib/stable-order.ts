import { useRef } from "react";

/** Rows that were there keep their places, new ones come last: what is read does not jump when a count overtakes another. */
export function stableOrder<T>(before: readonly string[], rows: readonly T[], keyOf: (row: T) => string): T[] {
  const place = new Map(before.map((key, at) => [key, at]));
  return rows
    .map((row, at) => ({ row, at: place.get(keyOf(row)) ?? before.length + at }))
    .sort((a, b) => a.at - b.at)
    .map(({ row }) => row);
}

/** The same over the life of a list; another `list` begins with the order it comes in. */
export function useStableOrder<T>(list: string, rows: readonly T[] | undefined, keyOf: (row: T) => string): T[] | undefined {
  const memory = useRef<{ list: string; keys: string[] }>({ list, keys: [] });
  if (rows === undefined) return undefined;
  const before = memory.current.list === list ? memory.current.keys : [];
  const ordered = stableOrder(before, rows, keyOf);
  memory.current = { list, keys: ordered.map(keyOf) };
  return ordered;
}
