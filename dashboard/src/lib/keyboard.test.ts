import { beforeEach, describe, expect, it } from "vitest";
import { isTyping, Keys, moveInList } from "./keyboard";

describe("keys", () => {
  it("go to a page after g", () => {
    const keys = new Keys();
    expect(keys.press("g", 0)).toBeNull();
    expect(keys.press("e", 300)).toEqual({ type: "go", path: "/events" });
    expect(keys.press("j", 400)).toEqual({ type: "do", key: "j" });
  });

  it("forget the g after a while", () => {
    const keys = new Keys();
    keys.press("g", 0);
    expect(keys.press("j", 5000)).toEqual({ type: "do", key: "j" });
  });

  it("mean nothing else", () => {
    const keys = new Keys();
    expect(keys.press("q", 0)).toBeNull();
    keys.press("g", 1);
    expect(keys.press("/", 2)).toBeNull();
  });
});

describe("moving in a list", () => {
  beforeEach(() => {
    document.body.innerHTML = `<main>${["a", "b", "c"].map((id) => `<div data-row="${id}"><input type="checkbox"><a href="#" data-row-link id="${id}">x</a></div>`).join("")}</main>`;
  });
  const at = () => document.activeElement?.id;

  it("begins at the first row, stops at the ends", () => {
    moveInList(1);
    expect(at()).toBe("a");
    moveInList(-1);
    expect(at()).toBe("a");
    moveInList(1);
    moveInList(1);
    moveInList(1);
    expect(at()).toBe("c");
  });

  it("goes on from a checkbox in the row", () => {
    document.querySelectorAll("input")[1]!.focus();
    moveInList(1);
    expect(at()).toBe("c");
  });

  it("says when there is no list", () => {
    document.body.innerHTML = "<main></main>";
    expect(moveInList(1)).toBe(false);
  });
});

it("leaves typing alone", () => {
  document.body.innerHTML = `<input type="search"><input type="checkbox"><textarea></textarea><select></select><button></button>`;
  expect([...document.body.children].map((each) => isTyping(each))).toEqual([true, false, true, true, false]);
});
