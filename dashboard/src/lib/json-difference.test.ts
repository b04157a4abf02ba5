import { expect, it } from "vitest";
import { differences } from "./json-difference";

it("finds nothing where there is nothing, in whichever order the fields stand", () => {
  expect(differences({ a: 1, b: { c: [1, { d: 2 }] } }, { b: { c: [1, { d: 2 }] }, a: 1 })).toEqual([]);
  expect(differences(null, null)).toEqual([]);
});

it("names each place once, with what was there and what would be", () => {
  expect(differences({ amount: 1, to: { "a/b": "x", same: true }, gone: null }, { amount: 2, to: { "a/b": "y", same: true }, made: [1] })).toEqual([
    { pointer: "/amount", before: 1, after: 2 },
    { pointer: "/to/a~1b", before: "x", after: "y" },
    { pointer: "/gone", before: null, after: undefined },
    { pointer: "/made", before: undefined, after: [1] },
  ]);
});

it("takes a list, and a value of another kind, as one", () => {
  expect(differences({ tags: [1, 2] }, { tags: [2, 1] })).toEqual([{ pointer: "/tags", before: [1, 2], after: [2, 1] }]);
  expect(differences({ a: {} }, { a: [] })).toEqual([{ pointer: "/a", before: {}, after: [] }]);
  expect(differences(1, { a: 1 })).toEqual([{ pointer: "", before: 1, after: { a: 1 } }]);
});
