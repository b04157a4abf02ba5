/**
 * The shapes of the API, in the form that openapi-typescript gives them.
 *
 * Written by hand from the contract until the server prints its OpenAPI document; `npm run api` then replaces this
 * file. Nothing outside `src/api` imports it: the names that the pages use stand in `types.ts`.
 *
 * A value that may be absent is `?: T | null` throughout, because that is how an `Option` comes out of the server.
 */

export interface paths {
  "/v1/session": { get: Read<Schemas["Session"]>; delete: Write<undefined> };
  "/v1/tenants": { get: Read<Page<"Tenant">, PageQuery>; post: Write<Schemas["Tenant"], Schemas["NewTenant"]> };
  "/v1/tenants/{id}": { get: ReadOne<Schemas["Tenant"]>; delete: WriteOne<undefined> };
  "/v1/users": { get: Read<Page<"User">, PageQuery>; post: Write<Schemas["User"], Schemas["NewUser"]> };
  "/v1/users/{id}": { patch: WriteOne<Schemas["User"], Schemas["UserChange"]>; delete: WriteOne<undefined> };
  "/v1/keys": { get: Read<Page<"Key">, PageQuery>; post: Write<Schemas["CreatedKey"], Schemas["NewKey"]> };
  "/v1/keys/{id}": { delete: WriteOne<undefined> };
  "/v1/audit": { get: Read<Page<"AuditEntry">, PageQuery> };

  "/v1/sources": { get: Read<Page<"Source">, PageQuery>; post: Write<Schemas["CreatedSource"], Schemas["NewSource"]> };
  "/v1/sources/{id}": {
    get: ReadOne<Schemas["Source"]>;
    patch: WriteOne<Schemas["Source"], Schemas["SourceChange"]>;
    delete: WriteOne<undefined>;
  };
  "/v1/sources/{id}/secrets": { post: WriteOne<Schemas["CreatedSecret"], Schemas["NewSecret"]> };
  "/v1/sources/{id}/secrets/{secret_id}": { delete: Write<undefined, undefined, { id: string; secret_id: string }> };
  "/v1/receipts": { get: Read<Page<"Receipt">, PageQuery & { source?: string; verdict?: string }> };

  "/v1/endpoints": { get: Read<Page<"Endpoint">, PageQuery>; post: Write<Schemas["CreatedEndpoint"], Schemas["NewEndpoint"]> };
  "/v1/endpoints/{id}": {
    get: ReadOne<Schemas["Endpoint"]>;
    patch: WriteOne<Schemas["Endpoint"], Schemas["EndpointChange"]>;
    delete: WriteOne<undefined>;
  };
  "/v1/endpoints/{id}/secret": { post: WriteOne<Schemas["EndpointSecret"]> };

  "/v1/bindings": { get: Read<Page<"Binding">, PageQuery>; post: Write<Schemas["Binding"], Schemas["NewBinding"]> };
  "/v1/bindings/{id}": {
    get: ReadOne<Schemas["Binding"]>;
    patch: WriteOne<Schemas["Binding"], Schemas["BindingChange"]>;
    delete: WriteOne<undefined>;
  };

  "/v1/events": { get: Read<Page<"Event">, PageQuery & EventQuery> };
  "/v1/events/{id}": { get: ReadOne<Schemas["EventDetail"]> };
  "/v1/replays": { post: Write<Schemas["ReplayAnswer"], Schemas["ReplayRequest"]> };

  "/v1/jobs": { get: Read<Page<"Job">, PageQuery & JobQuery> };
  "/v1/jobs/{id}": { get: ReadOne<Schemas["JobWithAttempts"]> };
  "/v1/jobs/{id}/retry": { post: WriteOne<unknown> };
  "/v1/jobs/{id}/cancel": { post: WriteOne<unknown, { reason?: string }> };
  "/v1/job-counts": { get: Read<Schemas["JobCounts"]> };
  "/v1/dead-letters": { get: Read<Page<"DeadLetter">, PageQuery & DeadLetterQuery> };
  "/v1/dead-letters/groups": { get: Read<{ items: Schemas["DeadLetterGroup"][] }, DeadLetterQuery> };
  "/v1/dead-letters/retry": { post: Write<Schemas["RetryAnswer"], Schemas["DeadLetterRetry"]> };
  "/v1/dead-letters/discard": { post: Write<Schemas["DiscardAnswer"], Schemas["DeadLetterDiscard"]> };

  "/v1/overview": { get: Read<Schemas["Overview"], { window: "1h" | "24h" | "7d" }> };
  "/v1/health": { get: Read<Schemas["Health"]> };
}

export interface components {
  schemas: {
    Problem: {
      type?: string;
      title: string;
      status: number;
      detail?: string | null;
      code: string;
      errors?: { pointer: string; detail: string }[] | null;
    };

    Role: "owner" | "viewer";
    Session: {
      user?: { id: string; email: string; role: Schemas["Role"] } | null;
      key?: { id: string; name: string } | null;
      role: Schemas["Role"];
      tenant_id?: string | null;
      version: string;
      database: "sqlite" | "postgres";
      demo: boolean;
    };
    Tenant: { id: string; name: string; slug: string; created_at: string };
    NewTenant: { name: string; slug?: string };
    User: { id: string; email: string; role: Schemas["Role"]; created_at: string; last_seen_at?: string | null };
    NewUser: { email: string; password?: string; role: Schemas["Role"] };
    UserChange: { role?: Schemas["Role"]; password?: string };
    Key: {
      id: string;
      name: string;
      role: Schemas["Role"];
      tenant_id?: string | null;
      created_at: string;
      last_used_at?: string | null;
      expires_at?: string | null;
    };
    NewKey: { name: string; role: Schemas["Role"]; tenant_id?: string };
    CreatedKey: { key: Schemas["Key"]; secret: string };
    AuditEntry: {
      id: string;
      at: string;
      actor: string;
      action: string;
      subject: string;
      detail?: unknown;
      tenant_id?: string | null;
    };

    Scheme: "stripe" | "standard_webhooks" | "github" | "meta" | "hmac" | "mainstay";
    HmacSettings: {
      header: string;
      algorithm: "sha256" | "sha512" | "sha1";
      encoding: "hex" | "base64";
      prefix?: string | null;
      template: string;
      timestamp_header?: string | null;
      id_header?: string | null;
      id_pointer?: string | null;
      type_header?: string | null;
      type_pointer?: string | null;
      key_encoding?: "utf8" | "base64" | "hex";
    };
    SourceSettings: {
      tolerance_secs?: number;
      body_limit_bytes?: number;
      hmac?: Schemas["HmacSettings"] | null;
      answer?: { status: number; content_type?: string | null; body?: string | null } | null;
    };
    SourceSecret: { id: string; hint: string; created_at: string; last_used_at?: string | null };
    SourceStats: {
      received: number;
      events: number;
      duplicates: number;
      refused: number;
      last_event_at?: string | null;
    };
    Source: {
      id: string;
      name: string;
      tenant_id: string;
      scheme: Schemas["Scheme"];
      enabled: boolean;
      url: string;
      settings: Schemas["SourceSettings"];
      secrets: Schemas["SourceSecret"][];
      created_at: string;
      updated_at: string;
      stats: Schemas["SourceStats"];
    };
    NewSource: {
      name: string;
      scheme: Schemas["Scheme"];
      tenant_id?: string;
      secret?: string;
      verify_token?: string;
      settings?: Schemas["SourceSettings"];
    };
    /** The source itself, or the source beside the secret that was made for it. `types.ts` reads both. */
    CreatedSource: Schemas["Source"] | { source: Schemas["Source"]; secret?: string | null };
    SourceChange: { name?: string; enabled?: boolean; settings?: Schemas["SourceSettings"] };
    NewSecret: { secret?: string };
    CreatedSecret: { id: string; secret?: string | null };
    Receipt: {
      id: string;
      source_name: string;
      received_at: string;
      verdict: string;
      reason?: string | null;
      remote: string;
      bytes: number;
    };

    Signing: "standard_webhooks" | "original";
    RetryPolicy: { strategy: string; attempts_max?: number; delays_ms?: number[] };
    Breaker: {
      state: "closed" | "open" | "half_open";
      failures: number;
      opened_at?: string | null;
      probe_at?: string | null;
      last_error?: string | null;
    };
    EndpointStats: {
      waiting: number;
      in_flight: number;
      succeeded: number;
      failed: number;
      dead: number;
      success_rate?: number | null;
      p50_ms?: number | null;
      p99_ms?: number | null;
      last_success_at?: string | null;
      last_failure_at?: string | null;
    };
    Endpoint: {
      id: string;
      name: string;
      tenant_id: string;
      url: string;
      enabled: boolean;
      signing: Schemas["Signing"];
      connect_timeout_ms: number;
      timeout_ms: number;
      max_in_flight: number;
      breaker: Schemas["Breaker"];
      stats: Schemas["EndpointStats"];
      retry?: Schemas["RetryPolicy"] | null;
      created_at: string;
      updated_at: string;
    };
    NewEndpoint: {
      name: string;
      url: string;
      tenant_id?: string;
      signing?: Schemas["Signing"];
      timeout_ms?: number;
      max_in_flight?: number;
    };
    EndpointChange: {
      name?: string;
      url?: string;
      enabled?: boolean;
      signing?: Schemas["Signing"];
      connect_timeout_ms?: number;
      timeout_ms?: number;
      max_in_flight?: number;
    };
    CreatedEndpoint: { endpoint: Schemas["Endpoint"]; secret: string };
    EndpointSecret: { secret: string };
    HandlerRef:
      | { kind: "endpoint"; endpoint_id: string; endpoint_name: string }
      | { kind: "builtin"; name: string };
    Binding: {
      id: string;
      name: string;
      tenant_id: string;
      source_id: string;
      source_name: string;
      type_pattern: string;
      handler: Schemas["HandlerRef"];
      enabled: boolean;
      created_at: string;
    };
    NewBinding: {
      name?: string;
      source_id: string;
      type_pattern: string;
      endpoint_id?: string;
      handler?: { kind: "builtin"; name: string };
    };
    BindingChange: { name?: string; type_pattern?: string; enabled?: boolean };

    EventStatus: "pending" | "processing" | "success" | "error" | "unhandled";
    JobTally: {
      total: number;
      done: number;
      waiting: number;
      running: number;
      retrying: number;
      dead: number;
      cancelled: number;
    };
    Event: {
      id: string;
      tenant_id: string;
      source_id: string;
      source_name: string;
      provider_id: string;
      type: string;
      received_at: string;
      occurred_at?: string | null;
      payload_bytes: number;
      deliveries: number;
      status: Schemas["EventStatus"];
      jobs: Schemas["JobTally"];
    };
    EventReceipt: {
      id: string;
      received_at: string;
      verdict: "accepted" | "duplicate" | "conflict";
      remote: string;
      secret_hint?: string | null;
    };
    Replay: { id: string; created_at: string; by: string; binding_id?: string | null; jobs: number };
    EventDetail: Schemas["Event"] & {
      payload?: unknown;
      payload_text?: string | null;
      headers: Record<string, string>;
      receipts: Schemas["EventReceipt"][];
      jobs_list: Schemas["JobWithAttempts"][];
      replays: Schemas["Replay"][];
    };
    ReplaySelection: {
      event_ids?: string[];
      source?: string;
      type?: string;
      status?: string;
      from?: string;
      to?: string;
      tenant?: string;
    };
    ReplayRequest: { selection: Schemas["ReplaySelection"]; binding_id?: string; plan: boolean };
    ReplayAnswer: {
      events: number;
      jobs: number;
      already_done?: number;
      binding_names?: string[];
      replay_id?: string;
    };

    JobState: "waiting" | "scheduled" | "running" | "retrying" | "done" | "dead" | "cancelled";
    Outcome:
      | "succeeded"
      | "failed"
      | "dead"
      | "lost"
      | "unknown"
      | "cancelled"
      | "requeued"
      | "discarded"
      | "running";
    Job: {
      id: string;
      tenant_id: string;
      kind: string;
      queue: string;
      state: Schemas["JobState"];
      event_id?: string | null;
      binding_id?: string | null;
      replay_id?: string | null;
      endpoint_id?: string | null;
      attempts: number;
      max_attempts: number;
      created_at: string;
      run_at?: string | null;
      next_attempt_at?: string | null;
      finished_at?: string | null;
      last_error?: string | null;
    };
    Attempt: {
      attempt: number;
      outcome: Schemas["Outcome"];
      started_at: string;
      finished_at?: string | null;
      duration_ms?: number | null;
      category?: string | null;
      code?: string | null;
      error?: string | null;
      status?: number | null;
      request?: { method: string; url: string; headers: Record<string, string> } | null;
      response_excerpt?: string | null;
      next_attempt_at?: string | null;
      by?: string | null;
    };
    JobWithAttempts: Schemas["Job"] & { payload?: unknown; attempts_list: Schemas["Attempt"][] };
    QueueCounts: { waiting: number; active: number; retrying: number; completed: number; failed: number };
    JobCounts: { queues: Record<string, Schemas["QueueCounts"]>; timestamp: string };
    DeadLetter: {
      job_id: string;
      tenant_id: string;
      kind: string;
      queue: string;
      endpoint_id?: string | null;
      endpoint_name?: string | null;
      event_id?: string | null;
      event_type?: string | null;
      died_at: string;
      attempts: number;
      category: string;
      code: string;
      error: string;
      status?: number | null;
    };
    DeadLetterGroup: {
      category: string;
      code: string;
      endpoint_name?: string | null;
      kind: string;
      count: number;
      oldest: string;
      newest: string;
      sample_error: string;
    };
    DeadLetterSelection: {
      job_ids?: string[];
      kind?: string;
      endpoint?: string;
      category?: string;
      code?: string;
      from?: string;
      to?: string;
      tenant?: string;
    };
    DeadLetterRetry: { selection: Schemas["DeadLetterSelection"]; plan: boolean };
    DeadLetterDiscard: { selection: Schemas["DeadLetterSelection"]; reason: string; plan: boolean };
    ReasonCount: { category: string; code: string; count: number };
    RetryAnswer: { matched: number; retried: number; by_reason: Schemas["ReasonCount"][] };
    DiscardAnswer: { matched: number; discarded: number };

    OverviewPoint: {
      at: string;
      received: number;
      duplicates: number;
      refused: number;
      done: number;
      failed: number;
      dead: number;
    };
    Overview: {
      window: string;
      now: string;
      throughput: { points: Schemas["OverviewPoint"][]; step_secs: number };
      totals: {
        received: number;
        duplicates: number;
        refused: number;
        done: number;
        failed: number;
        dead: number;
        success_rate?: number | null;
      };
      backlog: { waiting: number; running: number; retrying: number; scheduled: number };
      oldest_waiting_secs?: number | null;
      dead_letters: number;
      sources: Schemas["Source"][];
      endpoints: Schemas["Endpoint"][];
    };
    Health: {
      status: string;
      checks: Record<string, Record<string, unknown> & { status: string }>;
      version: string;
      uptime_secs: number;
      timestamp: string;
    };
  };
}

type Schemas = components["schemas"];
type Page<K extends keyof Schemas> = { items: Schemas[K][]; next_cursor?: string | null };
type PageQuery = { cursor?: string; limit?: number };
type EventQuery = {
  source?: string;
  type?: string;
  status?: string;
  tenant?: string;
  q?: string;
  from?: string;
  to?: string;
};
type JobQuery = { state?: string; queue?: string; kind?: string; tenant?: string; event?: string };
type DeadLetterQuery = {
  tenant?: string;
  kind?: string;
  endpoint?: string;
  category?: string;
  code?: string;
  from?: string;
  to?: string;
};

type Answer<T> = { 200: { content: { "application/json": T } } };
type Body<B> = B extends undefined ? { requestBody?: never } : { requestBody: { content: { "application/json": B } } };
type Params<Q, P> = { parameters: { query?: Q; header?: { "Idempotency-Key"?: string }; path: P } };
type NoPathParams<Q> = { parameters: { query?: Q; header?: { "Idempotency-Key"?: string }; path?: never } };
type Read<T, Q = never> = NoPathParams<Q> & { responses: Answer<T> };
type ReadOne<T> = Params<never, { id: string }> & { responses: Answer<T> };
type Write<T, B = undefined, P = undefined> = (P extends undefined ? NoPathParams<never> : Params<never, P>) &
  Body<B> & { responses: Answer<T> };
type WriteOne<T, B = undefined> = Params<never, { id: string }> & Body<B> & { responses: Answer<T> };
