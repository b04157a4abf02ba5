// Where two JSON values differ, place by place: for showing what would change in a row.

export interface Difference {
  /** A JSON pointer; empty: the whole. */
  pointer: string;
  /** Undefined: there was nothing. */
  before?: unknown;
  /** Undefined: there would be nothing. */
  after?: unknown;
}

const isMap = (value: unknown): value is Record<string, unknown> => value !== null && typeof value === "object" && !Array.isArray(value);
const step = (name: string): string => `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;

/** In the order in which the places stand, what is new behind what there was. Lists are one value each: a row rarely has any. */
export function differences(before: unknown, after: unknown, pointer = ""): Difference[] {
  if (isMap(before) && isMap(after)) {
    const names = [...Object.keys(before), ...Object.keys(after).filter((name) => !(name in before))];
    return names.flatMap((name) => differences(before[name], after[name], pointer + step(name)));
  }
  return same(before, after) ? [] : [{ pointer, before, after }];
}

function same(one: unknown, other: unknown): boolean {
  if (Array.isArray(one) && Array.isArray(other)) return one.length === other.length && one.every((each, at) => same(each, other[at]));
  if (isMap(one) && isMap(other)) return differences(one, other).length === 0;
  return one === other;
}
