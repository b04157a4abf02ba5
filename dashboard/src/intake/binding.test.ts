import { expect, it } from "vitest";
import type { Binding } from "../api/types";
import { bindingBody, bindingForm, handlerOptions } from "./binding";

const was: Binding = {
  id: "bnd_1",
  name: "receipts",
  tenant_id: "ten_1",
  source_id: "src_1",
  source_name: "stripe",
  type_pattern: "invoice.*",
  filter: "body.amount > 10",
  filter_failed: 0,
  handler: { kind: "endpoint", endpoint_id: "ep_1", endpoint_name: "mailer" },
  ordering: { key: "/customer", on_dead: "park" },
  expires_in_secs: null,
  enabled: true,
  created_at: "2026-01-01T00:00:00Z",
};
const sent = (patch: Partial<ReturnType<typeof bindingForm>>, of: Binding | undefined = was) =>
  JSON.parse(JSON.stringify(bindingBody({ ...bindingForm(of), ...patch }, of))) as unknown;

it("changes nothing where nothing was typed", () => {
  expect(sent({})).toEqual({});
  expect(sent({}, { ...was, filter: null, ordering: null, handler: { kind: "builtin", name: "billing.record" } })).toEqual({});
});

it("takes a filter and an order away by leaving them empty", () => {
  expect(sent({ filter: " ", order: "" })).toEqual({ filter: "", ordering: { key: "" } });
});

it("says after how long its jobs expire, and takes it away", () => {
  expect(sent({ expires: "10 min" })).toEqual({ expires_in_secs: 600 });
  expect(sent({ expires: "" }, { ...was, expires_in_secs: 600 })).toEqual({ expires_in_secs: 0 });
  expect(sent({}, { ...was, expires_in_secs: 600 })).toEqual({});
});

it("says the whole order, and where else it leads", () => {
  expect(sent({ fallback: "/id", onDead: "continue" })).toEqual({ ordering: { key: "/customer", fallback: "/id", on_dead: "continue" } });
  expect(sent({ handler: "builtin:billing.record" })).toEqual({ handler: { kind: "builtin", name: "billing.record" } });
});

it("says nothing of a new one that was not typed", () => {
  expect(JSON.parse(JSON.stringify(bindingBody({ ...bindingForm(), handler: "ep_2" })))).toEqual({
    type_pattern: "*",
    handler: { kind: "endpoint", endpoint_id: "ep_2" },
  });
});

it("offers where a binding leads already, though it is in no list", () => {
  expect(handlerOptions([{ id: "ep_2", name: "shop" }], was)[0]).toEqual({ value: "ep_1", label: "Endpoint mailer" });
  expect(handlerOptions([{ id: "ep_1", name: "mailer" }], was).filter(({ value }) => value === "ep_1")).toHaveLength(1);
});
