import createClient, { type Middleware } from "openapi-fetch";
import { IdempotencyKeys } from "./idempotency";
import { ApiError, problemOf, unreachable } from "./problem";
import type { paths } from "./schema";

const keys = new IdempotencyKeys();
const signatures = new Map<string, string>();

const writesAreSafeToRepeat: Middleware = {
  async onRequest({ request, id }) {
    if (request.method === "GET") return undefined;
    const signature = `${request.method} ${request.url} ${await request.clone().text()}`;
    signatures.set(id, signature);
    request.headers.set("Idempotency-Key", keys.keyFor(signature));
    return request;
  },
  onResponse({ response, id }) {
    const signature = signatures.get(id);
    if (signature !== undefined) {
      signatures.delete(id);
      keys.answered(signature, response.status);
    }
  },
  onError({ id }) {
    signatures.delete(id);
  },
};

export const client = createClient<paths>({
  baseUrl: globalThis.location?.origin ?? "",
  credentials: "same-origin",
  fetch: (request) => fetch(request),
});
client.use(writesAreSafeToRepeat);

/** Leaves for the sign-in page, and comes back to where we were. Once: many requests may fail at the same moment. */
let leaving = false;
export function toSignIn(): void {
  if (leaving) return;
  leaving = true;
  const next = location.pathname + location.search;
  location.assign(next === "/" ? "/signin" : `/signin?next=${encodeURIComponent(next)}`);
}

/** The body of an answer, or an `ApiError`: the only way in which pages call the API. */
export async function unwrap<T>(answer: Promise<{ data?: T; response: Response; error?: unknown }>): Promise<T> {
  let settled: { data?: T; response: Response; error?: unknown };
  try {
    settled = await answer;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw unreachable();
  }
  const { data, error, response } = settled;
  if (response.ok) return data as T;
  if (response.status === 401) toSignIn();
  // openapi-fetch has read the body already.
  throw await problemOf(
    new Response(typeof error === "string" ? error : JSON.stringify(error ?? null), {
      status: response.status,
      statusText: response.statusText,
      headers: response.headers,
    }),
  );
}

export { ApiError };
