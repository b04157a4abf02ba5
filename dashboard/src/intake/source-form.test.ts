import { expect, it } from "vitest";
import { hmacRule, plainHmac, plainSettings, sourceSettings } from "./source-form";

it("describes a rule in the words of the API", () => {
  expect(JSON.parse(JSON.stringify(hmacRule(plainHmac)))).toEqual({
    header: "X-Signature",
    algorithm: "sha256",
    encoding: "hex",
    signed: "{body}",
    id: { pointer: "/id" },
    type: { pointer: "/type" },
    key_encoding: "utf8",
  });
  expect(hmacRule({ ...plainHmac, id_header: "X-Id", type_pointer: "" })).toMatchObject({
    id: { header: "X-Id" },
    type: undefined,
  });
});

it("says of a source only what belongs to its scheme", () => {
  const of = (scheme: Parameters<typeof sourceSettings>[0], changed = {}) =>
    JSON.parse(JSON.stringify(sourceSettings(scheme, { ...plainSettings, ...changed }, plainHmac) ?? null));
  expect(of("stripe")).toBeNull();
  expect(of("stripe", { allow: " 192.0.2.1, 10.0.0.0/8\n::1 " })).toEqual({ allow: ["192.0.2.1", "10.0.0.0/8", "::1"] });
  expect(of("stripe", { url: "https://a/b" })).toBeNull();
  expect(of("twilio", { url: "https://a/b" })).toEqual({ url: "https://a/b" });
  const event = { id: { pointer: "/id" }, type: { header: "X-Event" } };
  expect(of("bearer", { event_type_header: "X-Event" })).toEqual({ bearer: { header: "Authorization" }, event });
  expect(of("address", { allow: "::1", event_type_header: "X-Event" })).toEqual({ allow: ["::1"], event });
  expect(Object.keys(of("hmac"))).toEqual(["hmac"]);
});
