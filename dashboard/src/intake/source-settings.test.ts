import { expect, it } from "vitest";
import type { SourceScheme, SourceSettings } from "../api/types";
import { Mistakes, Reader } from "../lib/typed";
import { settingsForm, sourceSettings } from "./source-settings";

type Form = ReturnType<typeof settingsForm>;
const told = (scheme: SourceScheme, patch: Partial<Form> = {}, was?: Partial<SourceSettings>) => {
  const read = new Reader();
  const settings = sourceSettings(read, scheme, { ...settingsForm(was), ...patch }, was);
  read.done();
  return JSON.parse(JSON.stringify(settings)) as unknown;
};

it("says of a new source only what belongs to its scheme", () => {
  expect(told("stripe")).toEqual({});
  expect(told("stripe", { allow: " 192.0.2.1, 10.0.0.0/8\n::1 " })).toEqual({ allow: ["192.0.2.1", "10.0.0.0/8", "::1"] });
  expect(told("stripe", { url: "https://a/b" })).toEqual({});
  expect(told("twilio", { url: "https://a/b", rate: { per_second: "5", burst: "" } })).toEqual({ url: "https://a/b" });
  const event = { id: { pointer: "/id" }, type: { header: "X-Event" } };
  expect(told("bearer", { type: { kind: "header", at: "X-Event" } })).toEqual({ bearer: { header: "Authorization" }, event });
  expect(told("address", { allow: "::1", type: { kind: "header", at: "X-Event" } })).toEqual({ allow: ["::1"], event });
  expect(told("hmac")).toEqual({
    hmac: { header: "X-Signature", algorithm: "sha256", encoding: "hex", signed: "{body}", key_encoding: "utf8", id: { pointer: "/id" }, type: { pointer: "/type" } },
  });
});

const whole: Partial<SourceSettings> = {
  tolerance_secs: 90,
  body_limit_bytes: 524_288,
  allow: ["192.0.2.0/24", "::1"],
  answer: { status: 202, content_type: "text/plain", body: " ok\n" },
  rate: { per_second: 50, burst: 500 },
  hmac: {
    header: "X-Orders-Signature", algorithm: "sha512", encoding: "base64", prefix: "v1 ", signed: "{timestamp}.{body}", key_encoding: "hex",
    timestamp_header: "X-Time", id: { header: "X-Id" }, type: { fixed: "order" }, occurred_at: { pointer: "/at" },
  },
  tenant: { find: [{ pointer: "/account" }], direct: true },
  objects: [{ name: "order", pointer: "/order/id", types: "*" }],
  expect: [{ name: "paid", after: { type: "order.*", key: "/id" }, expect: { type: "paid", key: "/order" }, within_secs: 60 }],
};

it("changes nothing where nothing was typed, and keeps what it has no field for", () => {
  expect(told("hmac", {}, whole)).toEqual(whole);
  const parts = { ...whole, hmac: { ...whole.hmac!, prefix: undefined, timestamp_header: undefined, parts: { separator: ";", signature: "h1", timestamp: "ts" }, id: "digest" as const } };
  expect(told("hmac", {}, parts)).toEqual(JSON.parse(JSON.stringify({ ...parts, hmac: { ...parts.hmac, id: undefined } })));
  expect(told("bearer", {}, { bearer: { header: "Authorization", prefix: "" } })).toMatchObject({ bearer: { prefix: "" } });
  expect(told("stripe", {}, { objects: [] })).toEqual({ objects: [] });
  expect(told("stripe", {}, { ...({ later: 7 } as object) })).toEqual({ later: 7 });
  // A scheme that judges no time has no field for it, and keeps what it has.
  expect(told("github", { tolerance: "" }, { tolerance_secs: 90 })).toEqual({ tolerance_secs: 90 });
});

it("takes away what is left empty", () => {
  const empty = { allow: "", answer: { status: "", content_type: "", body: "" }, rate: { per_second: "", burst: "9" }, tenant: " ", objects: "", expect: "", tolerance: "", body_limit: "" };
  expect(Object.keys(told("hmac", empty, whole) as object)).toEqual(["hmac"]);
});

it("answers 200 where only a body is given", () => {
  expect(told("stripe", { answer: { status: "", content_type: "", body: "ok" } })).toEqual({ answer: { status: 200, body: "ok" } });
});

it("sends nothing that it could not read", () => {
  try {
    told("hmac", { tolerance: "soon", body_limit: "big", tenant: "{", id: { kind: "header", at: " " } }, whole);
    expect.unreachable();
  } catch (error) {
    expect(Object.keys((error as Mistakes).at).sort()).toEqual(["body_limit_bytes", "id", "tenant", "tolerance_secs"]);
  }
});
