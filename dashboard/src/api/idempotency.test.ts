import { expect, it } from "vitest";
import { IdempotencyKeys, randomKey } from "./idempotency";

const keys = () => {
  let made = 0;
  return new IdempotencyKeys(() => `key${++made}`);
};

it("sends the same key again while the first answer is missing", () => {
  const of = keys();
  expect(of.keyFor("POST /a {}")).toBe("key1");
  expect(of.keyFor("POST /a {}")).toBe("key1");
  expect(of.keyFor("POST /a {1}")).toBe("key2");
});

it("takes a new key once an answer has said what became of it", () => {
  const of = keys();
  of.keyFor("a");
  of.answered("a", 201);
  expect(of.keyFor("a")).toBe("key2");
  of.answered("a", 409);
  expect(of.keyFor("a")).toBe("key3");
});

it("keeps the key when the server could not tell", () => {
  const of = keys();
  of.keyFor("a");
  of.answered("a", 503);
  of.answered("a", 429);
  expect(of.keyFor("a")).toBe("key1");
});

it("makes keys that do not repeat", () => {
  expect(randomKey()).toMatch(/^[0-9a-f]{32}$/);
  expect(randomKey()).not.toBe(randomKey());
});
