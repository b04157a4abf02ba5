// What people type into forms, and back: 15 s, 2 min, 1 MiB. What is written says exactly what was set, so that a form that
// is saved untouched changes nothing.

const spanUnits: [string, number][] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
  ["ms", 1],
];
const spanNames: Record<string, number> = { ...Object.fromEntries(spanUnits), m: 60_000 };

const byteUnits: [string, number][] = [
  ["GiB", 1024 ** 3],
  ["MiB", 1024 ** 2],
  ["KiB", 1024],
  ["B", 1],
];
const byteNames: Record<string, number> = Object.fromEntries(byteUnits.map(([name, size]) => [name.toLowerCase(), size]));

const inUnits = (value: number, units: [string, number][]): string => {
  const [name, size] = units.find(([, size]) => value > 0 && value % size === 0) ?? units.at(-1)!;
  return `${value / size} ${name}`;
};

/** Milliseconds in the largest unit that says them whole: 90000 is 90 s. */
export const writeSpan = (ms: number): string => inUnits(ms, spanUnits);
export const writeBytes = (bytes: number): string => inUnits(bytes, byteUnits);

function read(text: string, names: Record<string, number>, bare: number): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  if (!match) return null;
  const size = match[2] === "" ? bare : names[match[2]!.toLowerCase()];
  if (size === undefined) return null;
  const value = Number(match[1]) * size;
  return Number.isSafeInteger(value) ? value : null;
}

/** Milliseconds of a span such as "15 s", "2min" or "1.5 h"; a bare number is seconds. Null where it is none. */
export const readSpan = (text: string): number | null => read(text, spanNames, 1_000);
/** Bytes of a size such as "512 KiB"; a bare number is bytes. Null where it is none. */
export const readBytes = (text: string): number | null => read(text, byteNames, 1);

/** What of a form could not be read, said at its fields before anything is sent. */
export class Mistakes extends Error {
  override name = "Mistakes";
  constructor(readonly at: Readonly<Record<string, string>>) {
    super("Something in the form cannot be read");
  }
}

/** Reads the fields of one form; an empty one is undefined. `done` throws what could not be read. */
export class Reader {
  private readonly at: Record<string, string> = {};

  private take<T>(field: string, text: string, of: (text: string) => T | null, wanted: string): T | undefined {
    if (text.trim() === "") return undefined;
    const value = of(text.trim());
    if (value === null) this.at[field] = wanted;
    return value ?? undefined;
  }

  count(field: string, text: string): number | undefined {
    return this.take(field, text, (each) => (/^\d{1,15}$/.test(each) ? Number(each) : null), "must be a whole number");
  }

  number(field: string, text: string): number | undefined {
    return this.take(field, text, (each) => (/^\d+(\.\d+)?$/.test(each) ? Number(each) : null), "must be a number");
  }

  span(field: string, text: string): number | undefined {
    return this.take(field, text, readSpan, "must be a time such as 500 ms, 15 s or 2 min");
  }

  spans(field: string, text: string): number[] | undefined {
    const all = (each: string) => {
      const spans = each.split(",").filter((one) => one.trim() !== "").map(readSpan);
      return spans.includes(null) ? null : (spans as number[]);
    };
    return this.take(field, text, all, "must be times with commas between them, such as 5 s, 30 s, 2 min");
  }

  bytes(field: string, text: string): number | undefined {
    return this.take(field, text, readBytes, "must be a size such as 512 KiB or 1 MiB");
  }

  json(field: string, text: string): unknown {
    try {
      return text.trim() === "" ? undefined : (JSON.parse(text) as unknown);
    } catch {
      this.at[field] = "is not JSON";
      return undefined;
    }
  }

  /** A value that the form cannot go without. */
  needed<T>(field: string, value: T | undefined): T | undefined {
    if (value === undefined) this.at[field] ??= "is needed";
    return value;
  }

  done(): void {
    if (Object.keys(this.at).length > 0) throw new Mistakes(this.at);
  }
}

/** The same text for the same value, in whichever order its fields were written. */
const canonical = (value: unknown): string =>
  JSON.stringify(value ?? null, (_, each: unknown) =>
    each !== null && typeof each === "object" && !Array.isArray(each) ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1))) : each,
  );

/** Of what is wanted only what is otherwise than it was: what a change leaves out stays as it is, whoever set it meanwhile. */
export function differing<T extends object>(was: Partial<T>, wanted: T): Partial<T> {
  const same = (key: keyof T) => canonical(was[key]) === canonical(wanted[key]);
  return Object.fromEntries(Object.entries(wanted).filter(([key, value]) => value !== undefined && !same(key as keyof T))) as Partial<T>;
}
