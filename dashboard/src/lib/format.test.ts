import { describe, expect, it } from "vitest";
import { absolute, bytes, compact, duration, figure, offset, percent, plural, rate, relative, setting, shortId, span, waitWords } from "./format";

/** Narrow no-break spaces read as spaces here. */
const plain = (text: string) => text.replaceAll("\u202f", " ");

describe("numbers", () => {
  it("are short where there is little room", () => {
    expect([0, 999, 1000, 1234, 9_949, 12_345, 999_600, 5_600_000].map(compact)).toEqual(["0", "999", "1k", "1.2k", "9.9k", "12k", "1M", "5.6M"]);
  });

  it("never round a failure away", () => {
    expect(percent(0.9999999)).toBe(">99.99%");
    expect(percent(0.9996)).toBe("99.96%");
    expect(percent(0.0000001)).toBe("<0.01%");
    expect([percent(1), percent(0), percent(null), percent(0.5), percent(0.999)]).toEqual(["100%", "0%", "–", "50.0%", "99.9%"]);
  });

  it("say rates without a false precision", () => {
    expect([0, 0.04, 0.5, 3, 12.34, 1500].map(rate)).toEqual(["0", "<0.1", "0.5", "3", "12", "1.5k"]);
  });

  it("have units", () => {
    expect([12, 2048, 1_500_000].map(bytes).map(plain)).toEqual(["12 B", "2.0 KiB", "1.4 MiB"]);
    expect([0.2, 35, 1234, 45_000, 125_000].map(duration).map(plain)).toEqual(["<1 ms", "35 ms", "1.23 s", "45.0 s", "2 min 5 s"]);
    expect([0, 59, 60, 3725, 90_000].map(span).map(plain)).toEqual(["0 s", "59 s", "1 min", "1 h 2 min", "1 d 1 h"]);
  });

  it("agree with their noun", () => {
    expect([plural(1, "job"), plural(2, "job"), plural(1200, "try", "tries")]).toEqual(["1 job", "2 jobs", "1,200 tries"]);
  });
});

describe("times", () => {
  const now = Date.parse("2026-11-04T12:00:00Z");
  const ago = (ms: number) => plain(relative(now - ms, now));

  it("are relative in one unit", () => {
    expect([0, 5_000, 90_000, 7_200_000, 30 * 3_600_000, 4 * 86_400_000].map(ago)).toEqual([
      "now",
      "5 s ago",
      "1 min ago",
      "2 h ago",
      "30 h ago",
      "4 d ago",
    ]);
    expect(ago(-30_000)).toBe("in 30 s");
  });

  it("are absolute at one length", () => {
    expect(absolute(new Date(2026, 0, 2, 3, 4, 5).getTime())).toBe("2026-01-02 03:04:05");
  });

  it("count from the beginning of a story", () => {
    expect(plain(offset("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.240Z"))).toBe("+1.24 s");
    expect(plain(offset("2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z"))).toBe("+0 ms");
  });
});

it("shortens an id in the middle, not beyond recognition", () => {
  expect(shortId("evt_01jx8k2m3n4p5q6r7s8t9v0wxy")).toBe("evt_01jx…9v0wxy");
  expect(shortId("src_short")).toBe("src_short");
});

describe("words for people", () => {
  it("say a duration as it was set", () => {
    expect([0, 200, 1_000, 1_500, 300_000].map((ms) => plain(setting(ms)))).toEqual(["0 ms", "200 ms", "1 s", "1.5 s", "5 min"]);
  });

  it("count the jobs that wait", () => {
    expect([0, 1, 2].map(waitWords)).toEqual(["no job waits", "1 job waits", "2 jobs wait"]);
  });

  it("keep a number exact where there is room", () => {
    expect([999, 12_345, 1_200_000].map(figure)).toEqual(["999", "12,345", "1.2M"]);
  });
});
