import { expect, it } from "vitest";
import { differing, Mistakes, readBytes, Reader, readSpan, writeBytes, writeSpan } from "./typed";

it("writes what it reads again as the same", () => {
  for (const ms of [0, 1, 500, 1_000, 1_500, 15_000, 90_000, 120_000, 5_400_000, 86_400_000, 604_800_000, 61_001]) {
    expect(readSpan(writeSpan(ms))).toBe(ms);
  }
  for (const bytes of [0, 1, 1_000, 1_024, 65_536, 1_048_576, 1_048_577, 16_777_216]) expect(readBytes(writeBytes(bytes))).toBe(bytes);
  expect([90_000, 120_000, 1_500].map(writeSpan)).toEqual(["90 s", "2 min", "1500 ms"]);
  expect(writeBytes(1_048_576)).toBe("1 MiB");
});

it("reads spans as they are typed, and a bare number as seconds", () => {
  expect(["15", "15s", "2 MIN", "2m", "1.5 h", "\u00a05 ms "].map(readSpan)).toEqual([15_000, 15_000, 120_000, 120_000, 5_400_000, 5]);
  for (const none of ["", "s", "-1 s", "5 weeks", "1e3", "0.5 ms", "5 s 3"]) expect(readSpan(none), none).toBeNull();
});

it("says every mistake at its field, and sends nothing then", () => {
  const read = new Reader();
  expect(read.count("a", " 7 ")).toBe(7);
  expect(read.count("b", "7.5")).toBeUndefined();
  expect(read.spans("c", "5 s, 2 min,")).toEqual([5_000, 120_000]);
  expect(read.spans("d", "5 s, soon")).toBeUndefined();
  expect(read.json("e", "{")).toBeUndefined();
  expect(read.number("f", "")).toBeUndefined();
  read.needed("b", undefined);
  read.needed("g", undefined);
  try {
    read.done();
    expect.unreachable();
  } catch (error) {
    expect(Object.keys((error as Mistakes).at)).toEqual(["b", "d", "e", "g"]);
    expect((error as Mistakes).at.b).toBe("must be a whole number");
  }
});

it("leaves out of a change what is as it was", () => {
  const was = { count: 1, rate: { count: 1, burst: 2 }, order: { a: [1, 2], b: 1 }, gone: 3, none: null };
  expect(differing<Record<string, unknown>>(was, { count: 1, rate: { count: 1, burst: 3 }, order: { b: 1, a: [1, 2] }, gone: null, none: null, unsaid: undefined })).toEqual({
    rate: { count: 1, burst: 3 },
    gone: null,
  });
});
