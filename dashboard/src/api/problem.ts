import type { Problem } from "./types";

/** An answer that was not a success, or no answer at all, as every page shows it. */
export class ApiError extends Error {
  override name = "ApiError";

  constructor(
    readonly problem: Problem,
    /** Seconds that the server asked us to wait. */
    readonly retryAfterSecs: number | null = null,
  ) {
    super(problem.detail ?? problem.title);
  }

  get status(): number {
    return this.problem.status;
  }

  /** Whether the same request may succeed later. */
  get retryable(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export const unreachable = (): ApiError =>
  new ApiError({
    type: "about:blank",
    title: "Mainstay did not answer",
    status: 0,
    code: "unreachable",
    detail: "The request never got an answer. The server may be restarting, or the network is down.",
  });

/** What an answer says went wrong; proxies in front of the server do not speak problem+json. */
export async function problemOf(response: Response): Promise<ApiError> {
  const retryAfter = Number(response.headers.get("retry-after"));
  const wait = Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter : null;
  try {
    const body: unknown = await response.json();
    if (isProblem(body)) return new ApiError({ ...body, status: response.status }, wait);
  } catch {
    // Not JSON: fall through to what the status says.
  }
  return new ApiError(
    {
      type: "about:blank",
      title: response.statusText || `HTTP ${response.status}`,
      status: response.status,
      code: `http_${response.status}`,
      detail: "The answer was not one of Mainstay's. Something between the browser and the server sent it.",
    },
    wait,
  );
}

function isProblem(body: unknown): body is Problem {
  return typeof body === "object" && body !== null && "title" in body && "code" in body;
}

export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError({
    type: "about:blank",
    title: "The page could not do this",
    status: -1,
    code: "page_error",
    detail: error instanceof Error ? error.message : String(error),
  });
}
