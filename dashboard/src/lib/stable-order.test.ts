import { expect, it } from "vitest";
import { stableOrder } from "./stable-order";

it("keeps the places of rows that were there, and puts new ones last", () => {
  expect(stableOrder(["a", "b", "c"], ["new", "c", "a"], (row) => row)).toEqual(["a", "c", "new"]);
  expect(stableOrder([], ["b", "a"], (row) => row)).toEqual(["b", "a"]);
});
