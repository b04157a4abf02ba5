import { expect, it } from "vitest";
import { nameQueues, queueName } from "./queue";

const endpoints = [{ id: "ep_1", name: "app" }];

it("calls an endpoint's own queue by the endpoint's name", () => {
  expect(queueName("endpoint:ep_1", endpoints)).toBe("app");
});

it("leaves other queues alone, and those of endpoints that are not known", () => {
  expect(queueName("billing", endpoints)).toBe("billing");
  expect(queueName("endpoint:ep_2", endpoints)).toBe("endpoint:ep_2");
});

it("calls queues by name inside of a text", () => {
  expect(nameQueues("endpoint.deliver in endpoint:ep_1", endpoints)).toBe("endpoint.deliver in app");
  expect(nameQueues("endpoint.deliver in endpoint:ep_2", endpoints)).toBe("endpoint.deliver in endpoint:ep_2");
  expect(nameQueues("invoice.send in billing", endpoints)).toBe("invoice.send in billing");
});
