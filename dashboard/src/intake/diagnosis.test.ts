import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { adviceFor, causes } from "./diagnosis";

it("has words for every cause that the API names, and for no other", () => {
  const document = JSON.parse(readFileSync(join(process.cwd(), "../docs/openapi.json"), "utf8")) as {
    components: { schemas: { Diagnosis: { properties: { cause: { description: string } } } } };
  };
  const named = [...document.components.schemas.Diagnosis.properties.cause.description.matchAll(/`(\w+)`/g)].map(([, cause]) => cause!);
  expect(named.length).toBeGreaterThan(10);
  expect(causes.toSorted()).toEqual(named.toSorted());
});

it("leaves a cause that it does not know to the server's own words", () => {
  expect(adviceFor({ cause: "something_new" })).toBeUndefined();
});
