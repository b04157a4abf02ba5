// How numbers, times and sizes are written. English words, the reader's own time zone, tabular digits by CSS.

const integers = new Intl.NumberFormat("en");
const NARROW = "\u202f";

export const count = (value: number): string => integers.format(Math.round(value));

/** 999, 1.2k, 34k, 5.6M: for where the exact number would not fit; the exact one belongs in the title. */
export function compact(value: number): string {
  const steps: [number, string][] = [
    [1e9, "B"],
    [1e6, "M"],
    [1e3, "k"],
  ];
  for (const [size, unit] of steps) {
    if (Math.abs(value) >= size * 0.9995) {
      const scaled = value / size;
      return `${Math.abs(scaled) < 9.95 ? scaled.toFixed(1).replace(/\.0$/, "") : Math.round(scaled)}${unit}`;
    }
  }
  return count(value);
}

/** A number with room around it: exact up to a million. */
export const figure = (value: number): string => (Math.abs(value) < 1e6 ? count(value) : compact(value));

export function rate(perSecond: number): string {
  if (perSecond === 0) return "0";
  if (perSecond < 0.1) return "<0.1";
  return perSecond < 9.95 ? perSecond.toFixed(1).replace(/\.0$/, "") : compact(perSecond);
}

/** A share in percent that never rounds up to 100 or down to 0: one failure in a million is not none. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  if (share >= 1) return "100%";
  if (share <= 0) return "0%";
  const value = share * 100;
  if (value > 99.99) return ">99.99%";
  if (value < 0.01) return "<0.01%";
  if (value > 99.9 || value < 0.1) return `${floorTo(value, 2)}%`;
  if (value > 99 || value < 10) return `${floorTo(value, 1)}%`;
  return `${floorTo(value, 1)}%`;
}

const floorTo = (value: number, digits: number): string => {
  const scale = 10 ** digits;
  return (Math.floor(value * scale + 1e-9) / scale).toFixed(digits);
};

export function bytes(value: number): string {
  if (value < 1024) return `${value}${NARROW}B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let scaled = value;
  let unit = "B";
  for (const next of units) {
    if (scaled < 1024) break;
    scaled /= 1024;
    unit = next;
  }
  return `${scaled < 9.95 ? scaled.toFixed(1) : Math.round(scaled)}${NARROW}${unit}`;
}

/** How long something took. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return `<1${NARROW}ms`;
  if (ms < 1000) return `${Math.round(ms)}${NARROW}ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(2)}${NARROW}s`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)}${NARROW}s`;
  return span(ms / 1000);
}

/** A duration that somebody has set, as it was set: 500 ms, 1.5 s, 5 min. */
export const setting = (ms: number): string =>
  ms % 1000 === 0 && ms > 0 ? span(ms / 1000) : ms < 1000 ? `${ms}${NARROW}ms` : `${ms / 1000}${NARROW}s`;

/** A span of time in its two largest units: 45 s, 3 min 20 s, 2 h 5 min, 4 d 3 h. */
export function span(secs: number): string {
  const whole = Math.max(0, Math.floor(secs));
  const units: [number, string][] = [
    [86_400, "d"],
    [3_600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const first = units.findIndex(([size]) => whole >= size);
  if (first === -1) return `0${NARROW}s`;
  const [size, unit] = units[first]!;
  const head = `${Math.floor(whole / size)}${NARROW}${unit}`;
  const second = units[first + 1];
  const rest = second ? Math.floor((whole % size) / second[0]) : 0;
  return second && rest > 0 ? `${head} ${rest}${NARROW}${second[1]}` : head;
}

/** "12 s ago", "in 3 min": one unit, so that it does not tick more often than it matters. */
export function relative(at: string | number, now: number): string {
  const then = typeof at === "number" ? at : Date.parse(at);
  const secs = Math.round((now - then) / 1000);
  const far = Math.abs(secs);
  // Clocks differ a little; the near future of the past is now.
  if (far < 2) return "now";
  const units: [number, number, string][] = [
    [60, 1, "s"],
    [3_600, 60, "min"],
    [86_400 * 2, 3_600, "h"],
    [Infinity, 86_400, "d"],
  ];
  const [, size, unit] = units.find(([below]) => far < below)!;
  const value = `${Math.floor(far / size)}${NARROW}${unit}`;
  return secs > 0 ? `${value} ago` : `in ${value}`;
}

const pad = (value: number, digits = 2): string => String(value).padStart(digits, "0");

/** 2026-11-04 03:12:09 in the reader's zone: sortable, the same length always. */
export function absolute(at: string | number): string {
  const date = new Date(at);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock(at)}`;
}

export function clock(at: string | number, millis = false): string {
  const date = new Date(at);
  const base = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return millis ? `${base}.${pad(date.getMilliseconds(), 3)}` : base;
}

/** For titles: the reader's time with its zone, and UTC as the API says it. */
export function exact(at: string): string {
  const zone = new Intl.DateTimeFormat("en", { timeZoneName: "short" })
    .formatToParts(new Date(at))
    .find((part) => part.type === "timeZoneName")?.value;
  return `${absolute(at)} ${zone ?? ""}\n${at}`;
}

/** How long after the start of something: +0 ms, +1.24 s, +3 min 20 s. */
export function offset(from: string, at: string): string {
  const ms = Date.parse(at) - Date.parse(from);
  return ms < 1 ? `+0${NARROW}ms` : `+${duration(ms)}`;
}

/** evt_01jx…9k2f: enough to recognise, the copy button has the whole. */
export function shortId(id: string): string {
  const at = id.indexOf("_");
  const body = id.slice(at + 1);
  return body.length <= 12 ? id : `${id.slice(0, at + 1)}${body.slice(0, 4)}…${body.slice(-6)}`;
}

export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${Math.round(value) === 1 ? one : many}`;

/** How many jobs wait, as the end of a sentence. */
export const waitWords = (jobs: number): string => (jobs === 0 ? "no job waits" : `${plural(jobs, "job")} wait${jobs === 1 ? "s" : ""}`);

/** Words as the beginning of something. */
export const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** rate_limited becomes "rate limited". */
export const words = (code: string): string => code.replaceAll("_", " ");
