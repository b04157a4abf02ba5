// What pages ask of the API, each under the key that the stream refreshes it by.
import { keepPreviousData, queryOptions, useQuery } from "@tanstack/react-query";
import { client, unwrap } from "./client";
import { ApiError } from "./problem";
import type { Health, Role, SagaRunState, Tenant, Window } from "./types";

export const LIST_LIMIT = 50;
/** Things there are few of, fetched whole. */
const ALL_LIMIT = 200;

export const windowSecs: Record<Window, number> = { "1h": 3_600, "24h": 86_400, "7d": 604_800 };

export const queries = {
  session: () =>
    queryOptions({ queryKey: ["session"], queryFn: () => unwrap(client.GET("/v1/session")), staleTime: 60_000 }),
  overview: (window: Window) =>
    queryOptions({
      queryKey: ["overview", window],
      queryFn: () => unwrap(client.GET("/v1/overview", { params: { query: { window } } })),
    }),
  health: () =>
    queryOptions({
      queryKey: ["health"],
      queryFn: async (): Promise<Health> => {
        const answer = await client.GET("/v1/health").catch(() => null);
        // A server that is not well says so with 503 and the same body: that is the answer, not a failure to get one.
        const unwell = answer?.error as Health | undefined;
        if (unwell && typeof unwell === "object" && "checks" in unwell) return unwell;
        return unwrap(answer ? Promise.resolve(answer) : Promise.reject(new Error("unreachable")));
      },
      refetchInterval: 10_000,
    }),

  vault: () =>
    queryOptions({
      queryKey: ["vault"],
      queryFn: () => unwrap(client.GET("/v1/vault")),
      // A rotation goes on while somebody looks.
      refetchInterval: (query) => (query.state.data?.rotation && query.state.data.rotation.phase !== "done" ? 2_000 : false),
    }),
  tenants: () =>
    queryOptions({
      queryKey: ["tenants"],
      queryFn: () => unwrap(client.GET("/v1/tenants", { params: { query: { limit: ALL_LIMIT } } })),
      staleTime: 60_000,
    }),
  users: () =>
    queryOptions({
      queryKey: ["users"],
      queryFn: () => unwrap(client.GET("/v1/users", { params: { query: { limit: ALL_LIMIT } } })),
    }),
  keys: () =>
    queryOptions({
      queryKey: ["keys"],
      queryFn: () => unwrap(client.GET("/v1/keys", { params: { query: { limit: ALL_LIMIT } } })),
    }),

  sources: () =>
    queryOptions({
      queryKey: ["sources"],
      queryFn: () => unwrap(client.GET("/v1/sources", { params: { query: { limit: ALL_LIMIT } } })),
    }),
  waiting: (source: string) =>
    queryOptions({
      queryKey: ["waiting", source],
      queryFn: () => unwrap(client.GET("/v1/sources/{id}/waiting", { params: { path: { id: source }, query: { limit: LIST_LIMIT } } })),
      refetchInterval: 10_000,
    }),
  schemas: (source: string) =>
    queryOptions({
      queryKey: ["schemas", source],
      queryFn: () => unwrap(client.GET("/v1/sources/{id}/schemas", { params: { path: { id: source }, query: { limit: ALL_LIMIT } } })),
      refetchInterval: 10_000,
    }),
  schema: (source: string, id: string) =>
    queryOptions({
      queryKey: ["schemas", source, id],
      queryFn: () => unwrap(client.GET("/v1/sources/{id}/schemas/{schema_id}", { params: { path: { id: source, schema_id: id } } })),
    }),
  drift: (source: string) =>
    queryOptions({
      queryKey: ["drift", source],
      queryFn: () => unwrap(client.GET("/v1/sources/{id}/drift", { params: { path: { id: source }, query: { limit: LIST_LIMIT } } })),
      refetchInterval: 10_000,
    }),
  rhythm: (source: string, window: "day" | "week", type: string) =>
    queryOptions({
      queryKey: ["rhythm", source, window, type],
      queryFn: () =>
        unwrap(client.GET("/v1/sources/{id}/rhythm", { params: { path: { id: source }, query: { window, ...(type && { event_type: type }) } } })),
      refetchInterval: 60_000,
      placeholderData: keepPreviousData,
    }),
  rhythmSignals: (source: string) =>
    queryOptions({
      queryKey: ["rhythm-signals", source],
      queryFn: () => unwrap(client.GET("/v1/sources/{id}/rhythm/signals", { params: { path: { id: source }, query: { open: true, limit: LIST_LIMIT } } })),
      refetchInterval: 10_000,
    }),
  expected: (source: string) =>
    queryOptions({
      queryKey: ["expected", source],
      queryFn: () => unwrap(client.GET("/v1/sources/{id}/expected", { params: { path: { id: source }, query: { limit: LIST_LIMIT } } })),
      refetchInterval: 10_000,
    }),
  receipt: (id: string) =>
    queryOptions({
      queryKey: ["receipts", "one", id],
      queryFn: () => unwrap(client.GET("/v1/receipts/{id}", { params: { path: { id } } })),
      // Each look is on record, and works the reason out anew: only when somebody looks.
      staleTime: Infinity,
    }),
  source: (id: string) =>
    queryOptions({
      queryKey: ["source", id],
      queryFn: () => unwrap(client.GET("/v1/sources/{id}", { params: { path: { id } } })),
    }),
  endpoints: () =>
    queryOptions({
      queryKey: ["endpoints"],
      queryFn: () => unwrap(client.GET("/v1/endpoints", { params: { query: { limit: ALL_LIMIT } } })),
    }),
  endpoint: (id: string) =>
    queryOptions({
      queryKey: ["endpoint", id],
      queryFn: () => unwrap(client.GET("/v1/endpoints/{id}", { params: { path: { id } } })),
    }),
  bindings: () =>
    queryOptions({
      queryKey: ["bindings"],
      queryFn: () => unwrap(client.GET("/v1/bindings", { params: { query: { limit: ALL_LIMIT } } })),
    }),

  event: (id: string) =>
    queryOptions({
      queryKey: ["event", id],
      queryFn: () => unwrap(client.GET("/v1/events/{id}", { params: { path: { id } } })),
    }),
  replays: () =>
    queryOptions({
      queryKey: ["replays"],
      queryFn: () => unwrap(client.GET("/v1/replays", { params: { query: { limit: LIST_LIMIT } } })),
      refetchInterval: 2_000,
    }),
  replay: (id: string) =>
    queryOptions({
      queryKey: ["replays", id],
      queryFn: () => unwrap(client.GET("/v1/replays/{id}", { params: { path: { id } } })),
      // One that is over changes no more.
      refetchInterval: ({ state }) => (state.data && ["done", "stopped"].includes(state.data.state) ? false : 1_000),
    }),
  schedules: () =>
    queryOptions({
      queryKey: ["schedules"],
      queryFn: () => unwrap(client.GET("/v1/schedules", { params: { query: { limit: ALL_LIMIT } } })),
      // Ticks come by themselves.
      refetchInterval: 5_000,
    }),
  schedule: (id: string) =>
    queryOptions({
      queryKey: ["schedules", id],
      queryFn: () => unwrap(client.GET("/v1/schedules/{id}", { params: { path: { id } } })),
      refetchInterval: 2_000,
    }),
  schedulePreview: (cron: string, zone: string) =>
    queryOptions({
      queryKey: ["schedule-preview", cron, zone],
      queryFn: () => unwrap(client.POST("/v1/schedules/preview", { body: { cron, zone: zone || undefined, count: 5 } })),
      retry: false,
      placeholderData: keepPreviousData,
    }),
  sagas: () =>
    queryOptions({
      queryKey: ["sagas"],
      queryFn: () => unwrap(client.GET("/v1/sagas", { params: { query: { limit: ALL_LIMIT } } })),
    }),
  saga: (id: string) =>
    queryOptions({
      queryKey: ["sagas", id],
      queryFn: () => unwrap(client.GET("/v1/sagas/{id}", { params: { path: { id } } })),
      // How many runs are open is not told of.
      refetchInterval: 5_000,
    }),
  sagaRuns: (query: { saga?: string; state?: SagaRunState }) =>
    queryOptions({
      queryKey: ["saga-runs", "list", query],
      queryFn: () => unwrap(client.GET("/v1/saga-runs", { params: { query: { ...query, limit: LIST_LIMIT } } })),
      refetchInterval: 10_000,
    }),
  sagaRun: (id: string) =>
    queryOptions({
      queryKey: ["saga-runs", id],
      queryFn: () => unwrap(client.GET("/v1/saga-runs/{id}", { params: { path: { id } } })),
    }),
  job: (id: string) =>
    queryOptions({
      queryKey: ["job", id],
      queryFn: () => unwrap(client.GET("/v1/jobs/{id}", { params: { path: { id } } })),
    }),
  deadLetterGroups: (query: { tenant?: string; from?: string; to?: string }, key: unknown = query) =>
    queryOptions({
      queryKey: ["dead-letters", "groups", key],
      queryFn: () => unwrap(client.GET("/v1/dead-letters/groups", { params: { query } })),
    }),
  parkedLines: (endpoint: string) =>
    queryOptions({
      queryKey: ["lines", endpoint],
      queryFn: () => unwrap(client.GET("/v1/lines", { params: { query: { endpoint, state: "parked", limit: LIST_LIMIT } } })),
      refetchInterval: 10_000,
    }),
  auditHead: () => queryOptions({ queryKey: ["audit", "head"], queryFn: () => unwrap(client.GET("/v1/audit/head")) }),
  queues: () =>
    queryOptions({
      queryKey: ["queues"],
      queryFn: () => unwrap(client.GET("/v1/queues", { params: { query: { limit: ALL_LIMIT } } })),
      // Counted by the engine all the time; the stream does not say which queue a job is in.
      refetchInterval: 2_000,
    }),
  breakers: () =>
    queryOptions({
      queryKey: ["breakers"],
      queryFn: () => unwrap(client.GET("/v1/breakers", { params: { query: { limit: ALL_LIMIT } } })),
      // The stream says which endpoint changed, not which breaker.
      refetchInterval: 5_000,
    }),
  breaker: (name: string) =>
    queryOptions({
      queryKey: ["breakers", name],
      queryFn: () => unwrap(client.GET("/v1/breakers/{name}", { params: { path: { name } } })),
      refetchInterval: 5_000,
    }),
  breakerHistory: (name: string) =>
    queryOptions({
      queryKey: ["breakers", name, "history"],
      queryFn: () => unwrap(client.GET("/v1/breakers/{name}/history", { params: { path: { name }, query: { limit: LIST_LIMIT } } })),
      refetchInterval: 5_000,
    }),
  queue: (name: string) =>
    queryOptions({
      queryKey: ["queues", name],
      queryFn: () => unwrap(client.GET("/v1/queues/{name}", { params: { path: { name } } })),
      refetchInterval: 5_000,
    }),
  jobCounts: () =>
    queryOptions({ queryKey: ["job-counts"], queryFn: () => unwrap(client.GET("/v1/job-counts")) }),
  workers: () =>
    queryOptions({ queryKey: ["workers"], queryFn: () => unwrap(client.GET("/v1/workers")), refetchInterval: 5_000 }),
  nodes: () =>
    queryOptions({
      queryKey: ["nodes"],
      queryFn: () => unwrap(client.GET("/v1/nodes", { params: { query: { limit: ALL_LIMIT } } })),
      refetchInterval: 5_000,
    }),
};

export function useSession() {
  return useQuery(queries.session()).data;
}

/** From the least to the most: each may do what those before it may. */
const roles: Role[] = ["viewer", "operator", "admin", "owner"];

/** Whether this session has at least this role. The server decides; this only spares people a refusal. */
export function useCanWrite(least: Role): boolean {
  const role = useSession()?.role;
  return role !== undefined && roles.indexOf(role) >= roles.indexOf(least);
}

const none: Tenant[] = [];

/** Tenants, for names and filters. A session that is bound to one has no business with the others. */
export function useTenants(): { list: Tenant[]; many: boolean; nameOf: (id: string) => string } {
  const bound = useSession()?.tenant_id != null;
  const list = useQuery({ ...queries.tenants(), enabled: !bound }).data?.items ?? none;
  return {
    list,
    many: list.length > 1,
    nameOf: (id) => list.find((tenant) => tenant.id === id)?.name ?? id,
  };
}

/** Answers that will not change by asking again are not asked for again. */
export function shouldRetry(failures: number, error: unknown): boolean {
  return failures < 2 && error instanceof ApiError && error.retryable;
}
