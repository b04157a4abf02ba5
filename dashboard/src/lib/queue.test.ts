import { expect, it } from "vitest";
import { queueName } from "./queue";

const endpoints = [{ id: "ep_1", name: "app" }];

it("calls an endpoint's own queue by the endpoint's name", () => {
  expect(queueName("endpoint:ep_1", endpoints)).toBe("app");
});

it("leaves other queues alone, and those of endpoints that are not known", () => {
  expect(queueName("billing", endpoints)).toBe("billing");
  expect(queueName("endpoint:ep_2", endpoints)).toBe("endpoint:ep_2");
});
