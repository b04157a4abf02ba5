import { expect, it } from "vitest";
import { hmacRule, plainHmac } from "./source-form";

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
