// A stand-in for the server, for development and for the browser tests: the API's shapes, a plausible past, and a
// present that goes on. Everything is in memory and begins anew with every start. Never part of what is shipped.
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const COOKIE = "mainstay_session=fake";
const LINK_TOKEN = "demo";

/** mulberry32: the same past at every start. */
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const iso = (ms) => new Date(ms).toISOString().replace("Z", "000Z");

export function createWorld({ now = Date.now(), seed = 7, empty = false } = {}) {
  const random = randomFrom(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const between = (low, high) => low + random() * (high - low);
  let serial = 0;
  /** Sorts by time, like UUID v7 in base32. */
  const id = (prefix, at = now) => {
    let head = "";
    for (let rest = at, n = 0; n < 9; n++, rest = Math.floor(rest / 32)) head = ALPHABET[rest % 32] + head;
    let tail = "";
    for (let n = 0; n < 13; n++) tail += ALPHABET[Math.floor(random() * 32)];
    return `${prefix}_0${head}${(serial++ % 32768).toString(32).padStart(3, "0").slice(-3)}${tail}`;
  };
  const hex = (length) => Array.from({ length }, () => Math.floor(random() * 16).toString(16)).join("");
  const alnum = (length) => Array.from({ length }, () => "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789"[Math.floor(random() * 59)]).join("");

  const world = {
    tenants: [],
    users: [],
    keys: [],
    audit: [],
    sources: [],
    endpoints: [],
    bindings: [],
    events: [],
    jobs: [],
    receipts: [],
    replays: [],
    schedules: [],
    sagas: [],
    sagaRuns: [],
    idempotency: new Map(),
    started: now - 3 * DAY - 4 * HOUR,
    second: { received: 0, done: 0, failed: 0 },
    lastRates: { received: 0, done: 0, failed: 0 },
    changed: new Map(),
    counted: [],
    now: () => now,
  };

  const touch = (kind, what) => {
    let ids = world.changed.get(kind);
    if (!ids) world.changed.set(kind, (ids = new Set()));
    ids.add(what);
  };
  const audit = (at, actor, action, subject, detail = null, tenant_id = null) =>
    world.audit.unshift({ id: id("aud", at), at: iso(at), actor, action, subject, detail, tenant_id, position: world.audit.length + 1 });
  world.record = (action, subject, detail) => audit(now, "ada@example.com", action, subject, detail);

  const tenant = (name, slug, at) => {
    const made = { id: id("ten", at), name, slug, created_at: iso(at) };
    world.tenants.push(made);
    return made;
  };
  const acme = tenant("Acme Learning", "acme", now - 210 * DAY);
  world.users.push({ id: id("usr", now - 210 * DAY), email: "ada@example.com", role: "owner", created_at: iso(now - 210 * DAY), last_seen_at: iso(now) });

  world.addSource = ({ name, scheme, tenant_id = acme.id, settings, secret }, at = now) => {
    const made = {
      id: id("src", at),
      name,
      tenant_id,
      scheme,
      enabled: true,
      url: `/in/${name}`,
      settings: { tolerance_secs: 300, body_limit_bytes: 1048576, ...settings },
      secrets: [],
      created_at: iso(at),
      updated_at: iso(at),
      stats: { received: 0, events: 0, duplicates: 0, refused: 0, refused_not_kept: 0, refused_not_kept_since: null, rate_exceeded: 0, turned_away: 0, conflicts: 0, last_event_at: null, quality: { completeness: { score: null, numerator: 0, denominator: 0 }, accuracy: { score: null, numerator: 0, denominator: 0 }, freshness: { score: null, numerator: 0, denominator: 0 } } },
    };
    if (scheme !== "mainstay") world.addSecret(made, secret ?? `whsec_${alnum(24)}`, at);
    world.sources.push(made);
    touch("source", made.id);
    return made;
  };
  world.addSecret = (source, secret, at = now) => {
    const made = { id: id("sec", at), hint: `…${secret.slice(-4)}`, created_at: iso(at), last_used_at: null };
    source.secrets.unshift(made);
    return made;
  };
  world.newSecret = () => `whsec_${alnum(32)}`;
  world.newKeySecret = () => `msk_${alnum(40)}`;
  world.id = id;

  world.addEndpoint = (given, at = now) => {
    const made = {
      id: id("ep", at),
      tenant_id: acme.id,
      enabled: true,
      signing: "standard_webhooks",
      connect_timeout_ms: 5000,
      timeout_ms: 15000,
      max_in_flight: 20,
      breaker: { dependency: "", state: "closed", forced: false, failures: 0, opened_at: null, probe_at: null, last_error: null },
      breaker_settings: { failures_to_open: 5, slow_percent: 80, calls_min: 20, window_ms: 60_000, pause_ms: 60_000, pause_max_ms: 300_000, probes: 3, when_open: "wait" },
      header_names: [],
      secrets: [{ hint: `…${alnum(4)}`, until: null }],
      stats: { health: { state: "unknown", score: null, lost: [] }, waiting: 0, in_flight: 0, succeeded: 0, failed: 0, dead: 0, success_rate: null, p50_ms: null, p99_ms: null, last_success_at: null, last_failure_at: null },
      retry: { strategy: "schedule", attempts_max: 15, delays_ms: [5000, 30000, 120000, 600000, 1800000, 3600000, 7200000, 18000000, 36000000, 43200000] },
      created_at: iso(at),
      updated_at: iso(at),
      ...given,
    };
    delete made.headers;
    world.endpoints.push(made);
    touch("endpoint", made.id);
    return made;
  };
  const handlerOf = (handler) => {
    const endpoint = world.endpoints.find((each) => each.id === handler.endpoint_id);
    return endpoint ? { kind: "endpoint", endpoint_id: endpoint.id, endpoint_name: endpoint.name } : handler;
  };
  world.changeBinding = (binding, { handler, filter, ordering, expires_in_secs, ...rest }) =>
    Object.assign(binding, rest, handler && { handler: handlerOf(handler) }, filter !== undefined && { filter: filter || null }, ordering && { ordering: ordering.key === "" ? null : ordering }, expires_in_secs !== undefined && { expires_in_secs: expires_in_secs || null });
  world.addBinding = ({ name, source_id, type_pattern, filter, ordering, expires_in_secs, endpoint_id, handler }, at = now) => {
    const source = world.sources.find((each) => each.id === source_id);
    const endpoint = world.endpoints.find((each) => each.id === (endpoint_id ?? handler?.endpoint_id));
    const made = {
      id: id("bnd", at),
      name: name ?? `${source.name} ${type_pattern} to ${endpoint?.name ?? handler.name}`,
      tenant_id: source.tenant_id,
      source_id,
      source_name: source.name,
      type_pattern,
      filter: filter ?? null,
      filter_failed: 0,
      ordering: ordering?.key ? ordering : null,
      expires_in_secs: expires_in_secs ?? null,
      handler: endpoint ? { kind: "endpoint", endpoint_id: endpoint.id, endpoint_name: endpoint.name } : handler,
      enabled: true,
      created_at: iso(at),
    };
    world.bindings.push(made);
    return made;
  };

  if (empty) return finish();

  const north = tenant("Northwind Academy", "northwind", now - 120 * DAY);
  const lumen = tenant("Lumen Studio", "lumen", now - 41 * DAY);
  world.users.push(
    { id: id("usr", now - 190 * DAY), email: "grace@example.com", role: "owner", created_at: iso(now - 190 * DAY), last_seen_at: iso(now - 3 * HOUR) },
    { id: id("usr", now - 60 * DAY), email: "support@example.com", role: "viewer", created_at: iso(now - 60 * DAY), last_seen_at: null },
  );
  for (const [name, role, tenant_id, used] of [
    ["shop backend", "owner", null, 4 * SECOND],
    ["grafana", "viewer", null, 12 * SECOND],
    ["northwind integration", "viewer", north.id, 2 * DAY],
  ]) {
    world.keys.push({ id: id("key"), name, role, tenant_id, created_at: iso(now - 90 * DAY), last_used_at: iso(now - used), expires_at: tenant_id ? iso(now + 80 * DAY) : null, limits: tenant_id ? [{ class: "writes", per_minute: 600, until: iso(now + 3 * DAY), reason: "the yearly import", by: "user:ada@example.com", at: iso(now - DAY) }] : [] });
  }

  const stripe = world.addSource({ name: "stripe", scheme: "stripe" }, now - 200 * DAY);
  world.addSecret(stripe, "whsec_9Lx2", now - 2 * DAY);
  const whop = world.addSource({ name: "whop", scheme: "standard_webhooks", tenant_id: north.id }, now - 118 * DAY);
  const github = world.addSource({ name: "github", scheme: "github" }, now - 150 * DAY);
  const whatsapp = world.addSource({ name: "whatsapp", scheme: "meta", tenant_id: lumen.id }, now - 40 * DAY);
  const orders = world.addSource(
    {
      name: "orders",
      scheme: "hmac",
      tenant_id: north.id,
      settings: { hmac: { header: "X-Orders-Signature", algorithm: "sha256", encoding: "hex", prefix: "sha256=", signed: "{timestamp}.{body}", timestamp_header: "X-Orders-Time", id: { pointer: "/id" }, type: { pointer: "/event" }, key_encoding: "utf8" } },
    },
    now - 75 * DAY,
  );
  world.addSource({ name: "mainstay", scheme: "mainstay" }, now - 210 * DAY);

  const shop = world.addEndpoint({ name: "shop", url: "https://shop.acme-learning.example/hooks/mainstay" }, now - 199 * DAY);
  const crm = world.addEndpoint({ name: "crm", url: "https://crm.northwind.example/api/v2/inbound", tenant_id: north.id, timeout_ms: 8000, max_in_flight: 5 }, now - 110 * DAY);
  const mailer = world.addEndpoint({ name: "mailer", url: "https://mail.acme-learning.example/jobs", max_in_flight: 8 }, now - 160 * DAY);
  const analytics = world.addEndpoint({ name: "analytics", url: "https://collect.lumen.example/v1/events", tenant_id: lumen.id, signing: "original" }, now - 39 * DAY);
  crm.breaker = { dependency: "", forced: false, state: "open", failures: 14, opened_at: iso(now - 11 * MINUTE), probe_at: iso(now + 19 * SECOND), last_error: "connection refused (crm.northwind.example:443)" };
  mailer.retry = { strategy: "schedule", attempts_max: 8, delays_ms: [5000, 30000, 120000, 600000, 1800000] };
  shop.header_names = ["authorization", "x-shard"];
  shop.secrets.push({ hint: "…oLd4", until: iso(now + 20 * HOUR) });

  const bind = (source, type_pattern, endpoint, name) => world.addBinding({ name, source_id: source.id, type_pattern, endpoint_id: endpoint.id }, now - 70 * DAY);
  bind(stripe, "*", shop, "stripe to shop");
  bind(stripe, "invoice.*,charge.refunded", mailer, "receipts");
  world.addBinding({ name: "ledger", source_id: stripe.id, type_pattern: "invoice.paid,charge.refunded", handler: { kind: "builtin", name: "billing.record" } }, now - 70 * DAY);
  bind(whop, "membership.*", crm, "whop members");
  world.bindings.at(-1).ordering = { key: "/data/user/id", fallback: null, on_dead: "park" };
  bind(orders, "order.*", crm, "orders to crm");
  bind(whatsapp, "*", analytics, "messages");
  bind(github, "push,release", shop, "deploys");
  world.bindings.at(-1).enabled = false;

  const types = new Map([
    [stripe, ["invoice.paid", "invoice.payment_failed", "customer.subscription.updated", "checkout.session.completed", "charge.refunded", "customer.created"]],
    [whop, ["membership.went_valid", "membership.went_invalid", "payment.succeeded"]],
    [github, ["push", "pull_request", "release", "workflow_run"]],
    [whatsapp, ["messages", "message_status"]],
    [orders, ["order.created", "order.shipped", "order.cancelled"]],
  ]);
  const providerIds = { stripe: () => `evt_1Q${alnum(22)}`, whop: () => `msg_${alnum(27)}`, github: () => `${hex(8)}-${hex(4)}-11ef-${hex(4)}-${hex(12)}`, whatsapp: () => `wamid.HBgL${alnum(28)}`, orders: () => `ord-${Math.floor(between(100000, 999999))}` };
  const remotes = { stripe: "3.18.12.63", whop: "44.228.126.217", github: "140.82.115.43", whatsapp: "173.252.88.11", orders: "198.51.100.24" };
  const weights = [stripe, stripe, stripe, stripe, whop, whop, orders, orders, github, whatsapp];

  const payloadOf = (source, type, provider_id, at) => {
    const created = Math.floor(at / 1000);
    if (source === stripe) {
      return { id: provider_id, object: "event", api_version: "2025-09-30.clover", created, livemode: true, type, pending_webhooks: 1, data: { object: { id: `in_1Q${alnum(14)}`, object: "invoice", amount_due: 4900, amount_paid: 4900, currency: "eur", customer: `cus_R${alnum(13)}`, customer_email: "student@example.com", billing_reason: "subscription_cycle", lines: { object: "list", data: [{ id: `il_1Q${alnum(14)}`, amount: 4900, description: "1 × Course membership (at €49.00 / month)", period: { start: created, end: created + 2592000 } }] }, paid: true, status: "paid", subscription: `sub_1Q${alnum(14)}` } }, request: { id: null, idempotency_key: null } };
    }
    if (source === whatsapp) {
      return { object: "whatsapp_business_account", entry: [{ id: "104996122399160", changes: [{ field: "messages", value: { messaging_product: "whatsapp", messages: [{ from: "4915112345678", id: provider_id, timestamp: String(created), type: "text", text: { body: "When does the next course start?" } }] } }] }] };
    }
    return { id: provider_id, event: type, created_at: iso(at), data: { user: { id: `user_${alnum(10)}`, name: "Kofi Mensah", locale: "de-DE", tags: ["beta", "annual"] }, plan: "pro", amount: 12900, currency: "EUR", trial: false, note: null } };
  };

  const failures = {
    [crm.name]: [
      { category: "network", code: "connect_failed", error: "connection refused (crm.northwind.example:443)", status: null, body: null },
      { category: "network", code: "connect_failed", error: "connection refused (crm.northwind.example:443)", status: null, body: null },
      { category: "provider", code: "server_error", error: "the endpoint answered 503 Service Unavailable", status: 503, body: "<html><head><title>503 Service Temporarily Unavailable</title></head><body>nginx</body></html>" },
      { category: "timeout", code: "timed_out", error: "no answer within 8 s", status: null, body: null },
    ],
    [mailer.name]: [
      { category: "rate_limited", code: "rate_limited", error: "the endpoint answered 429 Too Many Requests, and asks to wait 30 s", status: 429, body: '{"error":"rate limit exceeded","retry_after":30}' },
      { category: "validation", code: "rejected", error: "the endpoint answered 422 Unprocessable Content: a retry cannot help", status: 422, body: '{"error":"no e-mail address","field":"customer_email"}' },
    ],
    [shop.name]: [{ category: "provider", code: "server_error", error: "the endpoint answered 500 Internal Server Error", status: 500, body: '{"error":"TypeError: Cannot read properties of undefined (reading \'items\')"}' }],
    [analytics.name]: [{ category: "timeout", code: "timed_out", error: "no answer within 15 s", status: null, body: null }],
    builtin: [{ category: "bug", code: "panicked", error: "the handler broke; its message is in the log under this job's id", status: null, body: null }],
  };

  const attemptOf = (job, number, at, failure, event) => {
    const endpoint = world.endpoints.find((each) => each.id === job.endpoint_id);
    const slow = endpoint === analytics ? 900 : 60;
    const took = failure?.code === "timed_out" ? endpoint?.timeout_ms ?? 15000 : Math.round(between(slow * 0.4, slow * 4));
    return {
      attempt: number,
      outcome: failure ? "failed" : "succeeded",
      started_at: iso(at),
      finished_at: iso(at + took),
      duration_ms: took,
      category: failure?.category ?? null,
      code: failure?.code ?? null,
      error: failure?.error ?? null,
      status: failure ? failure.status : endpoint ? 200 : null,
      request: endpoint
        ? {
            method: "POST",
            url: endpoint.url,
            headers: {
              "content-type": "application/json",
              "user-agent": "Mainstay/0.1",
              "webhook-id": job.id,
              "webhook-timestamp": String(Math.floor(at / 1000)),
              "webhook-signature": `v1,${alnum(43)}=`,
              "mainstay-event": event?.id ?? "",
              "mainstay-attempt": String(number),
            },
          }
        : null,
      response_excerpt: failure ? failure.body : endpoint ? '{"ok":true}' : null,
      next_attempt_at: null,
      by: null,
    };
  };

  const delays = [5, 30, 120, 600, 1800, 3600];
  const addJob = (event, binding, at, replay_id = null) => {
    const endpoint_id = binding.handler.kind === "endpoint" ? binding.handler.endpoint_id : null;
    const job = {
      id: id("job", at),
      tenant_id: event.tenant_id,
      kind: endpoint_id ? "endpoint.deliver" : binding.handler.name,
      queue: endpoint_id ? `endpoint:${endpoint_id}` : binding.handler.name.split(".")[0],
      state: "waiting",
      event_id: event.id,
      binding_id: binding.id,
      replay_id,
      endpoint_id,
      attempts: 0,
      max_attempts: endpoint_id ? 16 : 3,
      created_at: iso(at),
      run_at: null,
      next_attempt_at: null,
      finished_at: null,
      last_error: null,
      payload: null,
      attempts_list: [],
    };
    world.jobs.push(job);
    event.jobs_list.push(job);
    return job;
  };
  world.addJob = addJob;

  const settle = (job, event, at, { fails, die }) => {
    const number = job.attempts + 1;
    const endpointName = world.endpoints.find((each) => each.id === job.endpoint_id)?.name ?? "builtin";
    const failure = fails ? pick(failures[endpointName]) : null;
    const attempt = attemptOf(job, number, at, failure, event);
    job.attempts = number;
    job.attempts_list.push(attempt);
    const end = Date.parse(attempt.finished_at);
    if (!failure) {
      Object.assign(job, { state: "done", finished_at: attempt.finished_at, next_attempt_at: null, last_error: null });
    } else if (die || failure.category === "validation" || failure.category === "bug") {
      attempt.outcome = "dead";
      Object.assign(job, { state: "dead", finished_at: attempt.finished_at, next_attempt_at: null, last_error: failure.error });
    } else {
      const next = iso(end + delays[Math.min(number - 1, delays.length - 1)] * SECOND);
      attempt.next_attempt_at = next;
      Object.assign(job, { state: "retrying", next_attempt_at: next, last_error: failure.error });
    }
    return end;
  };

  const addEvent = (at, source = pick(weights)) => {
    const type = pick(types.get(source));
    const provider_id = providerIds[source.name]();
    const payload = payloadOf(source, type, provider_id, at);
    const event = {
      id: id("evt", at),
      tenant_id: source.tenant_id,
      source_id: source.id,
      source_name: source.name,
      provider_id,
      type,
      received_at: iso(at),
      occurred_at: iso(at - Math.round(between(300, 4000))),
      payload_bytes: JSON.stringify(payload).length,
      deliveries: 1,
      violation: null,
      conflicts: 0,
      conflicts_list: [],
      payload,
      payload_text: null,
      headers: {
        accept: "*/*",
        "content-type": "application/json; charset=utf-8",
        "user-agent": source === stripe ? "Stripe/1.0 (+https://stripe.com/docs/webhooks)" : source === github ? "GitHub-Hookshot/7a9c1f2" : "webhooks/1.0",
        ...(source === stripe ? { "stripe-signature": `t=${Math.floor(at / 1000)},v1=${hex(64)}` } : { "x-signature": `sha256=${hex(64)}` }),
        host: "hooks.acme-learning.example",
      },
      receipts: [{ id: id("rcp", at), received_at: iso(at), verdict: "accepted", remote: remotes[source.name], secret_hint: source.secrets.at(-1)?.hint ?? null }],
      jobs_list: [],
      replays: [],
    };
    if (random() < 0.05) {
      const again = 1 + Math.floor(random() * 3);
      for (let n = 1; n <= again; n++) {
        event.receipts.push({ id: id("rcp", at + n * 60000), received_at: iso(Math.min(now, at + n * 61000)), verdict: random() < 0.08 ? "conflict" : "duplicate", remote: remotes[source.name], secret_hint: source.secrets.at(-1)?.hint ?? null });
      }
      event.deliveries += again;
      source.stats.duplicates += again;
    }
    source.stats.received += 1;
    source.stats.events += 1;
    source.stats.last_event_at = iso(at);
    world.events.push(event);
    for (const binding of world.bindings) {
      if (!binding.enabled || binding.source_id !== source.id) continue;
      const matches = binding.type_pattern.split(",").some((pattern) => (pattern.endsWith("*") ? type.startsWith(pattern.slice(0, -1)) : pattern === type));
      if (matches) addJob(event, binding, at + 2);
    }
    return event;
  };
  world.addEvent = addEvent;

  const mayFail = { [shop.id]: 0.03, [crm.id]: 0.35, [mailer.id]: 0.16, [analytics.id]: 0.05 };

  // The past: seven days, denser towards now, each job carried as far as it had the time to get.
  const moments = Array.from({ length: 520 }, () => now - Math.floor(7 * DAY * random() ** 3)).sort((a, b) => a - b);
  for (const at of moments) {
    const event = addEvent(at);
    for (const job of event.jobs_list) {
      let when = at + Math.round(between(4, 90));
      const doomed = random() < 0.09 && job.endpoint_id !== analytics.id;
      const crmDown = job.endpoint_id === crm.id && now - at < 11 * MINUTE;
      for (let n = 0; n < 6 && when < now && !["done", "dead"].includes(job.state); n++) {
        if (crmDown && n > 0) break;
        const fails = crmDown || doomed || random() < (mayFail[job.endpoint_id] ?? 0.01);
        const end = settle(job, event, when, { fails, die: n === 5 });
        when = job.next_attempt_at ? Date.parse(job.next_attempt_at) : end;
      }
    }
  }
  for (const source of world.sources) {
    source.stats.received = source.stats.received * 37 + source.stats.duplicates;
    source.stats.events *= 37;
    source.stats.duplicates *= 9;
    for (const secret of source.secrets) secret.last_used_at = source.stats.last_event_at;
    if (source.secrets.length > 1) source.secrets[0].last_used_at = null;
  }
  // The code that a request was refused for, and what is made of it when somebody looks.
  const reasons = [
    ["signature_wrong", { cause: "wrong_secret", detail: "neither a secret of this source or of another, nor a usual change of the body matches: the secret is missing here, or it is forged" }],
    ["signature_wrong", { cause: "other_source", detail: "it is signed with the secret of another source: the provider has the wrong URL, or the secrets are swapped: github", other_source_id: github.id, other_source_name: github.name }],
    ["signature_missing", { cause: "header_missing", detail: "the header stripe-signature is missing; x-hub-signature-256 came, which GitHub sends" }],
    ["timestamp_too_old", { cause: "clock_skew", detail: "signed 2820 seconds ago, and at most 300 are allowed", clock_difference_secs: 2820 }],
  ];
  const addRefused = (at, source = pick([stripe, stripe, orders, whop])) => {
    const [reason, diagnosis] = pick(reasons);
    world.receipts.push({ id: id("rcp", at), source_id: source.id, source_name: source.name, received_at: iso(at), verdict: "refused", reason, diagnosis: { clock_difference_secs: null, other_source_id: null, other_source_name: null, ...diagnosis }, remote: `203.0.113.${Math.floor(between(2, 250))}`, bytes: Math.floor(between(40, 9000)) });
    source.stats.refused += 1;
  };
  for (let n = 0; n < 74; n++) addRefused(now - Math.floor(7 * DAY * random() ** 2));
  world.receipts.sort((a, b) => (a.received_at < b.received_at ? -1 : 1));

  const extra = (state, kind, queue, given) => world.jobs.push({ id: id("job", Date.parse(given.created_at)), tenant_id: acme.id, kind, queue, state, event_id: null, binding_id: null, replay_id: null, endpoint_id: null, attempts: 0, max_attempts: 3, run_at: null, next_attempt_at: null, finished_at: null, last_error: null, payload: { of: "demo" }, attempts_list: [], ...given });
  for (let n = 0; n < 7; n++) extra("scheduled", "vault.backup", "maintenance", { created_at: iso(now - n * HOUR), run_at: iso(now + (n + 1) * HOUR), payload: { target: "s3", full: n === 0 } });
  const tried = (given) => ({ finished_at: null, duration_ms: null, category: null, code: null, error: null, status: null, request: null, response_excerpt: null, next_attempt_at: null, by: null, worker: "press-1", progress: null, result: null, ...given });
  extra("running", "letter.print", "letters", { created_at: iso(now - 3 * MINUTE), attempts: 1, attempts_list: [
    tried({ attempt: 1, outcome: "lost", started_at: iso(now - 3 * MINUTE), finished_at: iso(now - 2 * MINUTE), duration_ms: MINUTE, category: "timeout", code: "lease_ended", error: "the worker that had it gave no sign of life", progress: { percent: 10, note: null } }),
    tried({ attempt: 2, outcome: "running", started_at: iso(now - MINUTE), progress: { percent: 40, note: "page 12 of 30" } }),
  ] });
  extra("done", "letter.print", "letters", { created_at: iso(now - 9 * MINUTE), finished_at: iso(now - 8 * MINUTE), attempts: 1, attempts_list: [
    tried({ attempt: 1, outcome: "succeeded", started_at: iso(now - 9 * MINUTE), finished_at: iso(now - 8 * MINUTE), duration_ms: MINUTE, progress: { percent: 100, note: "printed" }, result: { pages: 30, paper: "A4" } }),
  ] });
  extra("cancelled", "mail.send", "default", { created_at: iso(now - 5 * HOUR), finished_at: iso(now - 4 * HOUR), attempts: 1, attempts_list: [{ attempt: 1, outcome: "cancelled", started_at: iso(now - 4 * HOUR), finished_at: iso(now - 4 * HOUR), duration_ms: null, category: null, code: null, error: "the campaign was stopped", status: null, request: null, response_excerpt: null, next_attempt_at: null, by: "grace@example.com" }] });
  world.jobs.sort((a, b) => (a.created_at < b.created_at ? -1 : 1));

  audit(now - 200 * DAY, "ada@example.com", "source.create", stripe.id, { name: "stripe" });
  audit(now - 2 * DAY, "grace@example.com", "source_secret.create", stripe.id, { hint: "…9Lx2" });
  audit(now - 26 * HOUR, "key shop backend", "job.create", "job_01jc…", { kind: "mail.send" });
  audit(now - 9 * HOUR, "grace@example.com", "dead_letter.retry", "37 jobs", { category: "timeout", matched: 37, retried: 37 });
  audit(now - 4 * HOUR, "grace@example.com", "job.cancel", "job_01jc…", { reason: "the campaign was stopped" });
  audit(now - 40 * MINUTE, "ada@example.com", "session.create", "ada@example.com", { by: "password" });

  // One event came again with other content.
  const conflicted = world.events.find((event) => event.source_id === stripe.id);
  const again = Date.parse(conflicted.received_at) + MINUTE;
  conflicted.conflicts = 2;
  conflicted.conflicts_list = [
    { digest: "5d41402abc4b2a76", event_digest: "b9719d911017c592", receipt_id: id("rcp", again), first_at: iso(again), last_at: iso(again + MINUTE), times: 2, payload_bytes: conflicted.payload_bytes, differences: [{ pointer: "/data/object/amount", event: "1200", later: "1300" }, { pointer: "/data/object/note", event: null, later: '"changed"' }], more: false },
  ];

  // Schedules, with runs on record. Every rule of the fake comes at two in the night.
  const nextTick = (at) => Math.floor(at / DAY) * DAY + 2 * HOUR + (at % DAY >= 2 * HOUR ? DAY : 0);
  world.addSchedule = ({ name, tenant_id, endpoint, kind, cron = "0 2 * * *", zone = "UTC", payload = null, misfire = "one", overlap = "allow", jitter_ms = 0, paused = false }, at = now) => {
    const pushed = world.endpoints.find((each) => each.id === endpoint || each.name === endpoint);
    const schedule = {
      id: id("scd", at), tenant_id: tenant_id ?? acme.id, name, cron, zone, kind: pushed ? "endpoint.deliver" : kind, endpoint_id: pushed?.id ?? null, endpoint_name: pushed?.name ?? null,
      queue: pushed ? `endpoint:${pushed.id}` : "default", payload, retry: null, misfire, grace_ms: 60_000, catch_up_max: 100, overlap, jitter_ms, paused,
      next_tick: paused ? null : iso(nextTick(now)), next_run_at: paused ? null : iso(nextTick(now)), last_run: null, problem: null, created_at: iso(at), updated_at: iso(at), runs: [],
    };
    world.schedules.unshift(schedule);
    return schedule;
  };
  world.runSchedule = (schedule, at, outcome = "run", job_state = "done") => {
    const made = outcome === "run" || outcome === "by_hand";
    const run = { tick: iso(at), local: new Date(at).toISOString().replace(".000Z", "+00:00"), outcome, job_id: made ? id("job", at) : null, job_state: made ? job_state : null, since: outcome === "missed" ? iso(at - 2 * DAY) : null, count: outcome === "missed" ? 3 : 1, decided_at: iso(at) };
    schedule.runs.unshift(run);
    if (made) {
      schedule.last_run = { tick: run.tick, job_id: run.job_id, job_state };
      world.jobs.push({ id: run.job_id, tenant_id: schedule.tenant_id, kind: schedule.kind, queue: schedule.queue, state: job_state, event_id: null, binding_id: null, replay_id: null, endpoint_id: schedule.endpoint_id, attempts: 1, max_attempts: 5, run_at: null, next_attempt_at: null, finished_at: iso(at + 400), last_error: null, payload: { schedule: schedule.name, scheduled_for: run.tick, payload: schedule.payload }, attempts_list: [], created_at: iso(at) });
    }
    return run;
  };
  // A saga, with a run that waits for a person, one that could not be taken back, and one that is done.
  const orderSteps = () => {
    const work = (kind) => ({ kind, endpoint_id: null, endpoint_name: null, queue: "stock", input: { item: { $: "/input/item" } }, retry: null });
    const push = { kind: "endpoint.deliver", endpoint_id: world.endpoints[0]?.id ?? null, endpoint_name: world.endpoints[0]?.name ?? null, queue: "stock", input: null, retry: null };
    return [
      { name: "reserve", action: work("stock.reserve"), timeout_secs: null, compensation: work("stock.release"), lookup: null },
      { name: "look", action: null, timeout_secs: 86400, compensation: null, lookup: null },
      { name: "charge", action: push, timeout_secs: 3600, compensation: push, lookup: push },
    ];
  };
  world.addSaga = (name, at = now) => {
    const saga = { id: id("sga", at), tenant_id: acme.id, name, version: 1, created_at: iso(at), updated_at: iso(at), versions: [{ version: 1, steps: orderSteps(), created_at: iso(at), by: "user:ada@acme.example" }], open_runs: [] };
    world.sagas.unshift(saga);
    return saga;
  };
  world.addSagaRun = (saga, key, state, steps, error = null, at = now) => {
    const begun = ({ job_id: null, lookup_job_id: null, compensation_job_id: null, uncertain: false, started_at: null, deadline_at: null, finished_at: null, verdict: null, code: null, error: null });
    const names = ["reserve", "look", "charge"];
    const shape = names.map((name) => ({ name, approval: name === "look", compensation: name !== "look", lookup: name === "charge" }));
    const run = {
      id: id("run", at), tenant_id: saga.tenant_id, saga_id: saga.id, version: 1, key, state, cancel: null, error, by: "key:shop", created_at: iso(at), finished_at: state === "done" ? iso(at + 9000) : null,
      steps: names.map((name, index) => ({ ...begun, name, idempotency_key: `run:${name}`, ...(steps[index]?.state !== "pending" && { started_at: iso(at + index * 1000) }), ...(name !== "look" && steps[index]?.state !== "pending" && { job_id: id("job", at + index) }), ...steps[index] })),
      saga_name: saga.name, shape, input: { item: "lamp", amount: 4900 }, outputs: { reserve: { id: "res_1" } },
    };
    world.sagaRuns.unshift(run);
    return run;
  };
  if (!empty) {
    const order = world.addSaga("order", now - 20 * DAY);
    const ended = (state, at) => ({ state, finished_at: iso(at) });
    world.addSagaRun(order, "order-1040", "done", [ended("done", now - DAY), { ...ended("done", now - DAY), verdict: { approved: true, by: "user:ada@acme.example", reason: "called them", at: iso(now - DAY) } }, ended("done", now - DAY)], null, now - DAY);
    world.addSagaRun(order, "order-1041", "failed", [ended("done", now - 3 * HOUR), ended("done", now - 2 * HOUR), { state: "compensating", uncertain: true, finished_at: iso(now - HOUR), compensation_job_id: id("job", now - HOUR), code: "timed_out", error: "no answer within 30 s" }], "charge could not be undone: the endpoint answered 500", now - 3 * HOUR);
    world.addSagaRun(order, "order-1042", "waiting", [ended("done", now - 4 * MINUTE), { state: "running", deadline_at: iso(now + DAY) }, { state: "pending" }], null, now - 5 * MINUTE);
    order.open_runs = [{ state: "waiting", count: 1 }, { state: "failed", count: 1 }];
  }
  world.ticks = (count) => Array.from({ length: count }, (_, each) => ({ at: iso(nextTick(Date.now()) + each * DAY), local: new Date(nextTick(Date.now()) + each * DAY).toISOString().replace(".000Z", "+00:00"), note: null }));
  if (!empty) {
    const nightly = world.addSchedule({ name: "daily-analytics", endpoint: world.endpoints[0]?.id, kind: "noop", payload: { report: "daily" } }, now - 40 * DAY);
    const last = nextTick(now) - DAY;
    world.runSchedule(nightly, last - 5 * DAY, "missed");
    for (const ago of [4, 3, 2, 1, 0]) world.runSchedule(nightly, last - ago * DAY, ago === 2 ? "overlapped" : "run");
    world.addSchedule({ name: "clean-up", kind: "noop", paused: true }, now - 20 * DAY);
  }
  // One event was replayed, so that its page shows it.
  const replayed = world.events.filter((event) => event.source_id === stripe.id && event.jobs_list.length > 1 && Date.parse(event.received_at) < now - 30 * MINUTE).at(-2);
  world.replay = (events, { binding_id = null, endpoint_id = null, rate_per_second = 50, skip_done = false } = {}, by = "ada@example.com", at = now) => {
    const replay = {
      id: id("rpl", at), tenant_id: null, created_at: iso(at), by, binding_id, endpoint_id, rate_per_second, unfinished_max: 200,
      stop_on_failures_percent: 50, skip_done, state: "finishing", reason: null, ended_at: null, selected: events.length,
      selected_at_least: false, events: events.length, jobs: 0, skipped: 0, done: 0, dead: 0, cancelled: 0, unfinished: 0,
      selection: { event_ids: events.length, source_id: null, type: null, status: null, from: null, to: null, provider_id: null },
    };
    for (const event of events) {
      const goals = world.goals(event, replay);
      for (const goal of goals) addJob(event, goal, at, replay.id);
      replay.jobs += goals.length;
      event.replays.push(replay);
      touch("event", event.id);
    }
    replay.unfinished = replay.jobs;
    world.replays.unshift(replay);
    return replay;
  };
  finish();
  if (replayed) {
    const replay = world.replay([replayed], {}, "grace@example.com", now - 3 * MINUTE);
    Object.assign(replay, { state: "done", done: replay.jobs, unfinished: 0, ended_at: iso(now - 2 * MINUTE) });
    for (const job of replayed.jobs_list.filter((each) => each.replay_id)) settle(job, replayed, now - 3 * MINUTE + 40, { fails: false });
  }

  // The present.
  world.advance = (to) => {
    now = to;
    const arriving = random() < 0.75 ? 1 + Math.floor(random() * 3) : 0;
    for (let n = 0; n < arriving; n++) {
      const event = addEvent(now - Math.floor(random() * 900));
      world.second.received += 1;
      touch("event", event.id);
      touch("source", event.source_id);
    }
    if (random() < 0.03) {
      addRefused(now);
      touch("source", stripe.id);
    }
    for (const job of world.jobs.slice(-400)) {
      const event = world.events.find((each) => each.id === job.event_id);
      const due = job.state === "waiting" || (job.state === "retrying" && Date.parse(job.next_attempt_at) <= now);
      if (job.state === "running" && job.queue !== "letters") {
        job.attempts_list.pop();
        job.attempts -= 1;
        const fails = random() < (mayFail[job.endpoint_id] ?? 0.01) * 0.6;
        settle(job, event, now - 60, { fails, die: job.attempts >= 5 });
        world.second[job.state === "done" ? "done" : "failed"] += 1;
        touch("job", job.id);
        if (event) touch("event", event.id);
        if (job.state === "dead") touch("dead_letter", job.id);
      } else if (due && !(job.endpoint_id === crm.id && crm.breaker.state === "open") && random() < 0.7) {
        job.state = "running";
        job.attempts += 1;
        job.attempts_list.push({ ...attemptOf(job, job.attempts, now, null, event), outcome: "running", finished_at: null, duration_ms: null, status: null, response_excerpt: null });
        touch("job", job.id);
        if (event) touch("event", event.id);
      }
    }
    if (crm.breaker.state === "open" && Date.parse(crm.breaker.probe_at) < now) {
      crm.breaker.probe_at = iso(now + 30 * SECOND);
      crm.breaker.failures += 1;
      touch("endpoint", crm.id);
    }
    world.lastRates = world.second;
    const point = world.point(now);
    point.received += world.second.received;
    point.done += world.second.done;
    point.failed += world.second.failed;
    world.second = { received: 0, done: 0, failed: 0 };
  };
  world.cutOff = () => world.endpoints.find((each) => each.breaker.state === "open");
  return world;

  function finish() {
    world.replay ??= () => {
      throw missing("event");
    };
    // Where a replay brings an event: bindings, or one endpoint as if it were one.
    world.goals ??= (event, { binding_id, endpoint_id }) => {
      const endpoint = world.endpoints.find((each) => each.id === endpoint_id);
      if (endpoint) return [{ id: null, name: endpoint.name, handler: { kind: "endpoint", endpoint_id } }];
      return world.matching(event, binding_id);
    };
    world.matching ??= (event, binding_id) =>
      world.bindings.filter(
        (binding) =>
          binding.source_id === event.source_id &&
          (!binding_id || binding.id === binding_id) &&
          binding.type_pattern.split(",").some((pattern) => (pattern.endsWith("*") ? event.type.startsWith(pattern.slice(0, -1)) : pattern === event.type)),
      );
    const minutes = new Map();
    const noise = randomFrom(99);
    const minuteOf = (at) => Math.floor(at / MINUTE) * MINUTE;
    // Every minute of the last week, with the hours of the day in it and an outage eleven minutes ago.
    if (!empty) {
      for (let at = minuteOf(now - 7 * DAY - HOUR); at <= minuteOf(now); at += MINUTE) {
        const day = 0.55 + 0.45 * Math.sin(((at % DAY) / DAY) * 2 * Math.PI - 2);
        const received = Math.round((70 + 90 * day) * (0.8 + noise() * 0.4));
        const outage = now - at < 12 * MINUTE && now - at > MINUTE;
        const earlier = Math.abs(now - 31 * HOUR - at) < 20 * MINUTE;
        const failed = Math.round(received * (outage ? 0.16 : earlier ? 0.3 : 0.012) * (0.6 + noise() * 0.8));
        minutes.set(at, { received, duplicates: Math.round(received * 0.02 * noise() * 2), refused: noise() < 0.12 ? 1 : 0, done: Math.max(0, Math.round(received * 1.25) - failed), failed, dead: outage && noise() < 0.25 ? 1 : earlier && noise() < 0.5 ? 2 : 0 });
      }
    }
    const zero = () => ({ received: 0, duplicates: 0, refused: 0, done: 0, failed: 0, dead: 0 });
    world.point = (at) => {
      const key = minuteOf(at);
      if (!minutes.has(key)) minutes.set(key, zero());
      return minutes.get(key);
    };
    // One of each kind of finding at the first source that has events.
    world.driftOf = (id) => {
      const event = world.events.find(({ source_id }) => source_id === world.events[0]?.source_id);
      if (event?.source_id !== id) return [];
      const found = (n, kind, path, before, after) => ({ id: `drf_${n}`, event_type: event.type, kind, path, before, after, event_id: event.id, found_at: event.received_at, acknowledged_at: null, acknowledged_by: null });
      return [found(3, "field_type", "/data/object/amount", "number", "string"), found(2, "new_field", "/data/object/tax", "", "object"), found(1, "api_version", "", "2025-09-30", "2026-10-28")].filter((each) => !world.seen?.includes(each.id));
    };
    // The key of each endpoint's first dead letter is parked behind it.
    world.lines = (endpoint) =>
      world.endpoints
        .filter(({ id, name }) => !endpoint || id === endpoint || name === endpoint)
        .flatMap(({ id, name, tenant_id }) => {
          const head = world.jobs.find((job) => job.endpoint_id === id && job.state === "dead");
          if (!head) return [];
          const line = head.id.replace("job_", "lin_");
          return [{ id: line, tenant_id, queue: head.queue, endpoint_id: id, endpoint_name: name, key: `cus_${line.slice(-6)}`, state: "parked", head_job_id: head.id, waiting: 3, since: head.created_at, parked_at: head.finished_at }];
        })
        .filter(({ id }) => !world.released?.has(id));
    // Two types with a rhythm of the day, one of which has fallen silent, and an event that did not come.
    world.rhythmOf = (id, url) => {
      const event = world.events.find(({ source_id }) => source_id === id);
      if (!event) return { counted_to: iso(Date.now()), types: [], event_type: null, hours: [] };
      const count = url.searchParams.get("window") === "week" ? 168 : 24;
      const now = Math.floor(Date.now() / 3_600_000);
      const hours = Array.from({ length: count }, (_, index) => {
        const hour = now - count + 1 + index;
        const expected = 60 + 40 * Math.sin((hour / 24) * 2 * Math.PI);
        return { at: iso(hour * 3_600_000), counted: 1, actual: Math.round(expected * (0.9 + ((hour * 37) % 20) / 100)), expected, low: Math.round(expected * 0.6), high: Math.round(expected * 1.5) };
      });
      const sum = (of) => hours.reduce((all, hour) => all + of(hour), 0);
      const type = (event_type) => ({ event_type, learning: false, last_event_at: event.received_at, actual: sum(({ actual }) => actual), expected: sum(({ expected }) => expected) });
      return { counted_to: iso(Date.now()), types: [type(null), type(event.type)], event_type: url.searchParams.get("event_type"), hours };
    };
    world.signalsOf = (id) => {
      const event = world.events.find(({ source_id }) => source_id === id);
      if (!event || id !== world.events[0].source_id) return [];
      return [{ id: "rsg_1", kind: "silence", event_type: event.type, since: event.received_at, expected: 41.5, actual: 0, opened_at: event.received_at, ended_at: null }];
    };
    world.expectedOf = (id) => {
      const event = world.events.find(({ source_id }) => source_id === id);
      if (!event || id !== world.events[0].source_id) return [];
      const one = (n, object) => ({ id: `xpc_${n}`, tenant_id: event.tenant_id, rule: "paid", object, event_id: event.id, expected_type: "invoice.paid", began_at: event.received_at, due_at: event.received_at, acknowledged_at: null, acknowledged_by: null });
      return [one(2, "cus_bob"), one(1, "cus_ada")].filter((each) => !world.seen?.includes(each.id));
    };
    world.overview = (window) => {
      const [span, step] = { "1h": [HOUR, MINUTE], "24h": [DAY, 15 * MINUTE], "7d": [7 * DAY, 2 * HOUR] }[window];
      const end = Math.floor(now / step) * step;
      const points = [];
      const totals = zero();
      for (let at = end - span + step; at <= end; at += step) {
        const sum = zero();
        for (let minute = at; minute < at + step; minute += MINUTE) {
          const one = minutes.get(minute);
          if (one) for (const key of Object.keys(sum)) sum[key] += one[key];
        }
        for (const key of Object.keys(sum)) totals[key] += sum[key];
        points.push({ at: iso(at), ...sum });
      }
      const finished = totals.done + totals.dead;
      const backlog = world.backlog();
      return {
        window,
        now: iso(now),
        throughput: { points, step_secs: step / 1000 },
        totals: { ...totals, success_rate: finished ? totals.done / finished : null },
        backlog: { ...backlog, scheduled: world.jobs.filter(({ state }) => state === "scheduled").length },
        oldest_waiting_secs: world.oldestWaiting(),
        dead_letters: world.jobs.filter(({ state }) => state === "dead").length,
        lines_parked: world.lines().length,
        jobs_parked: world.lines().reduce((sum, { waiting }) => sum + waiting, 0),
        concerns: world.sources.flatMap(({ id, name }) => {
          const [silent, missing] = [world.signalsOf(id).length, world.expectedOf(id).length];
          return silent + missing > 0 ? [{ source_id: id, source: name, silent, surging: 0, missing }] : [];
        }),
        sources: world.sources,
        endpoints: world.endpointList(),
      };
    };
    world.backlog = () => {
      const backlog = { waiting: 0, running: 0, retrying: 0 };
      for (const { state } of world.jobs) if (state in backlog) backlog[state] += 1;
      return backlog;
    };
    world.oldestWaiting = () => {
      const oldest = world.jobs.find(({ state }) => state === "waiting");
      return oldest ? Math.max(0, (now - Date.parse(oldest.created_at)) / 1000) : null;
    };
    world.endpointList = () =>
      world.endpoints.map((endpoint) => {
        const jobs = world.jobs.filter((job) => job.endpoint_id === endpoint.id);
        const attempts = jobs.flatMap((job) => job.attempts_list);
        const good = attempts.filter(({ outcome }) => outcome === "succeeded");
        const bad = attempts.filter(({ outcome }) => outcome === "failed" || outcome === "dead");
        const took = good.map(({ duration_ms }) => duration_ms).sort((a, b) => a - b);
        const last = (list) => list.reduce((max, { finished_at }) => (max === null || finished_at > max ? finished_at : max), null);
        const lost = Math.min(60, Math.round((300 * bad.length) / (attempts.length || 1)));
        const health = {
          state: attempts.length === 0 ? "unknown" : lost <= 20 ? "healthy" : lost <= 50 ? "degraded" : "failing",
          score: attempts.length === 0 ? null : 100 - lost,
          lost: lost > 0 ? [{ cause: "failures", points: lost }] : [],
        };
        return {
          ...endpoint,
          stats: {
            health,
            waiting: jobs.filter(({ state }) => state === "waiting" || state === "retrying").length,
            in_flight: jobs.filter(({ state }) => state === "running").length,
            succeeded: good.length,
            failed: bad.length,
            dead: jobs.filter(({ state }) => state === "dead").length,
            success_rate: attempts.length ? good.length / (good.length + bad.length || 1) : null,
            p50_ms: took[Math.floor(took.length * 0.5)] ?? null,
            p99_ms: took[Math.floor(took.length * 0.99)] ?? null,
            last_success_at: last(good),
            last_failure_at: last(bad),
          },
        };
      });
    world.advance ??= (to) => {
      now = to;
    };
    return world;
  }
}

const tallyOf = (event) => {
  const tally = { total: 0, done: 0, waiting: 0, running: 0, retrying: 0, dead: 0, cancelled: 0 };
  for (const { state } of event.jobs_list) {
    tally.total += 1;
    tally[state === "scheduled" ? "waiting" : state] += 1;
  }
  return tally;
};
const statusOf = (jobs) => {
  if (jobs.total === 0) return "unhandled";
  if (jobs.dead > 0) return "error";
  if (jobs.done + jobs.cancelled === jobs.total) return "success";
  return jobs.waiting === jobs.total ? "pending" : "processing";
};
const shortEvent = (event) => {
  const { payload, payload_text, headers, receipts, jobs_list, replays, conflicts_list, ...rest } = event;
  const jobs = tallyOf(event);
  return { ...rest, status: statusOf(jobs), jobs };
};
/** The ids in a payload, by the rules of the most frequent schemes. */
const objectsOf = ({ payload }) => {
  const object = payload?.data?.object ?? payload?.data ?? payload ?? {};
  const found = { object: object.id, customer: object.customer, subscription: object.subscription, repository: payload?.repository?.full_name, sender: payload?.sender?.login };
  return Object.entries(found)
    .filter(([, id]) => typeof id === "string" || typeof id === "number")
    .map(([name, id]) => ({ name, id: String(id) }));
};
const isAbout = (event, id) => event.id === id || event.provider_id === id || objectsOf(event).some((object) => object.id === id);
const stepsOf = (event) => [
  ...event.receipts.slice(0, 1).map(({ id, received_at, verdict, remote }) => ({ at: received_at, what: "request", id, of: null, state: verdict, text: `${event.payload_bytes} bytes from ${remote}` })),
  { at: event.received_at, what: "event", id: event.id, of: event.receipts[0]?.id ?? null, state: statusOf(tallyOf(event)), text: `${event.type} ${event.provider_id}` },
  ...event.jobs_list.flatMap((job) => [
    { at: job.created_at, what: "job", id: job.id, of: event.id, state: job.state, text: `${job.kind} in ${job.queue}` },
    ...job.attempts_list.map(({ attempt, started_at, outcome, error }) => ({ at: started_at, what: "attempt", id: job.id, of: job.id, state: outcome, text: `attempt ${attempt}${error ? `: ${error}` : ""}` })),
  ]),
];
const shortJob = ({ payload, attempts_list, ...rest }) => rest;

class Refused extends Error {
  constructor(status, code, title, detail, errors) {
    super(title);
    this.status = status;
    this.body = { type: `https://mainstay.example/errors/${code}`, title, status, detail, code, ...(errors ? { errors } : {}) };
  }
}
const missing = (what) => new Refused(404, "not_found", `There is no such ${what}`, `No ${what} of this id is in reach.`);
const invalid = (pointer, detail) => new Refused(422, "validation_failed", "The request is not valid", "Something in the request has to change.", [{ pointer, detail }]);

export function startFakeApi({ port = 4501, host = "127.0.0.1", tick = SECOND } = {}) {
  let world = createWorld();
  const mode = { latency: 0 };
  /** Browsers, by their cookie `fake`, that hear nothing: each for itself, so that tests do not disturb one another. */
  const cutOff = new Set();
  const fakeOf = (request) => /(?:^|; )fake=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
  const streams = new Set();

  const timer = setInterval(() => {
    world.advance(Date.now());
    const backlog = world.backlog();
    send("tick", {
      at: iso(Date.now()),
      rates: world.lastRates,
      backlog,
      dead_letters: world.jobs.filter(({ state }) => state === "dead").length,
      oldest_waiting_secs: world.oldestWaiting(),
    });
    for (const [kind, ids] of world.changed) send("change", { kind, ids: [...ids].slice(0, 20), more: ids.size > 20 });
    world.changed.clear();
  }, tick);

  function send(event, data) {
    for (const stream of streams) stream.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  const page = (items, url, key = "id") => {
    const limit = Math.min(200, Number(url.searchParams.get("limit") ?? 50));
    const cursor = url.searchParams.get("cursor");
    const from = cursor ? items.findIndex((item) => item[key] === cursor) + 1 : 0;
    const slice = items.slice(from, from + limit);
    return { items: slice, next_cursor: from + limit < items.length ? slice.at(-1)[key] : null };
  };

  const deadLetters = (selection) => {
    const has = (name) => selection[name] !== undefined && selection[name] !== null && selection[name] !== "";
    return world.jobs
      .filter(({ state }) => state === "dead")
      .map((job) => {
        const last = job.attempts_list.at(-1);
        const endpoint = world.endpoints.find(({ id }) => id === job.endpoint_id);
        const event = world.events.find(({ id }) => id === job.event_id);
        return { job_id: job.id, tenant_id: job.tenant_id, kind: job.kind, queue: job.queue, endpoint_id: job.endpoint_id, endpoint_name: endpoint?.name ?? null, event_id: job.event_id, event_type: event?.type ?? null, died_at: job.finished_at, attempts: job.attempts, category: last.category, code: last.code, error: last.error, status: last.status };
      })
      .filter(
        (letter) =>
          (!has("job_ids") || selection.job_ids.includes(letter.job_id)) &&
          (!has("kind") || letter.kind === selection.kind) &&
          (!has("endpoint") || letter.endpoint_name === selection.endpoint || letter.endpoint_id === selection.endpoint) &&
          (!has("category") || letter.category === selection.category) &&
          (!has("code") || letter.code === selection.code) &&
          (!has("tenant") || letter.tenant_id === selection.tenant) &&
          (!has("from") || letter.died_at >= selection.from) &&
          (!has("to") || letter.died_at < selection.to),
      )
      .sort((a, b) => (a.died_at < b.died_at ? 1 : -1));
  };
  const countBy = (letters) => {
    const groups = new Map();
    for (const { category, code } of letters) groups.set(`${category} ${code}`, { category, code, count: (groups.get(`${category} ${code}`)?.count ?? 0) + 1 });
    return [...groups.values()].sort((a, b) => b.count - a.count);
  };
  const sagaRunOf = (id) => world.sagaRuns.find((each) => each.id === id) ?? raise(missing("run"));
  const scheduleOf = (id) => world.schedules.find((each) => each.id === id || each.name === id) ?? raise(missing("schedule"));
  const limitsOf = (name) => {
    const own = name.startsWith("endpoint:");
    return ((world.limits ??= {})[name] ??= { max_in_flight: null, rate: own ? { count: 100, per_ms: 60_000, burst: 10 } : null, tenant_max_in_flight: own ? 2 : null, tenant_rate: null, max_waiting: own ? 50_000 : null, max_age_secs: own ? 900 : null, weights: {} });
  };
  const queuesOf = () => {
    const names = [...new Set([...world.jobs.map(({ queue }) => queue), ...world.endpoints.map(({ id }) => `endpoint:${id}`)])].sort();
    return names.map((name) => {
      const own = world.jobs.filter(({ queue }) => queue === name);
      const in_state = (state) => own.filter((job) => job.state === state);
      const endpoint = world.endpoints.find(({ id }) => name === `endpoint:${id}`);
      const waiting = in_state("waiting");
      const ended = own.filter(({ finished_at }) => finished_at && Date.parse(finished_at) > Date.now() - 60_000).length;
      const made = own.filter(({ created_at }) => Date.parse(created_at) > Date.now() - 60_000).length;
      const { flow = "running", flow_at = null } = world.flows?.[name] ?? {};
      const tenants = [...new Set(own.map(({ tenant_id }) => tenant_id))].map((tenant_id, at) => ({
        tenant_id,
        running: in_state("running").filter((job) => job.tenant_id === tenant_id).length,
        used_ms: own.filter((job) => job.tenant_id === tenant_id && job.state === "done").length * 140,
        waiting: waiting.filter((job) => job.tenant_id === tenant_id).length,
        more: false,
        limited: endpoint !== undefined && at === 0,
      }));
      return {
        name,
        endpoint_id: endpoint?.id ?? null,
        endpoint_name: endpoint?.name ?? null,
        flow,
        flow_at,
        full: waiting.length >= (limitsOf(name).max_waiting ?? Infinity),
        drained: flow === "draining" ? waiting.length === 0 : null,
        limits: limitsOf(name),
        waiting: waiting.length,
        running: in_state("running").length,
        retrying: in_state("retrying").length,
        scheduled: in_state("scheduled").length,
        dead: in_state("dead").length,
        oldest_waiting_at: waiting.map(({ created_at }) => created_at).sort()[0] ?? null,
        in_per_sec: Math.round(made / 6) / 10,
        out_per_sec: Math.round(ended / 6) / 10,
        drain_secs: flow !== "paused" && ended > 0 ? Math.ceil((waiting.length * 60) / ended) : null,
        breaker: endpoint?.breaker?.state ?? null,
        live: true,
        tenants: tenants.filter(({ used_ms, waiting, running }) => used_ms + waiting + running > 0),
      };
    });
  };

  const breakersOf = () =>
    world.endpoints.map((endpoint) => {
      const { state, failures, opened_at, probe_at, last_error } = endpoint.breaker;
      const forced = endpoint.held ?? null;
      return {
        dependency: endpoint.id,
        name: endpoint.name,
        shared: false,
        tenant_id: endpoint.tenant_id,
        endpoints: [{ id: endpoint.id, name: endpoint.name }],
        state,
        forced,
        failures,
        successes: 0,
        opened_at,
        probe_at,
        last_error,
        settings: { failures_to_open: 5, slow_percent: 80, calls_min: 20, window_ms: 60_000, pause_ms: 60_000, pause_max_ms: 300_000, probes: 3, when_open: "wait" },
      };
    });
  const breakerOf = (name) => breakersOf().find(({ dependency }) => dependency === name) ?? raise(missing("breaker"));
  const breakerHistory = (name) => {
    const { opened_at, last_error } = breakerOf(name);
    const kept = (world.breakerChanges ??= {})[name] ?? [];
    const opened = opened_at && { id: `bch_${"0".repeat(25)}1`, at: opened_at, from: "closed", to: "open", why: "failures", count: 5, calls: 0, error: last_error, by: null, reason: null, until: null };
    return [...kept, ...(opened ? [opened] : [])];
  };
  const holdBreaker = (name, to, why, { reason = null, until = null } = {}) => {
    const endpoint = world.endpoints.find(({ id }) => id === name) ?? raise(missing("breaker"));
    if (reason === "") throw invalid("/reason", "must have 1 to 500 characters");
    const from = endpoint.breaker.state;
    Object.assign(endpoint.breaker, { state: to, forced: why !== "automatic" });
    const by = "user:ada@example.com";
    endpoint.held = why === "automatic" ? null : { reason, by, at: iso(Date.now()), until };
    const changes = ((world.breakerChanges ??= {})[name] ??= []);
    changes.unshift({ id: `bch_${String(changes.length + 2).padStart(26, "0")}`, at: iso(Date.now()), from, to, why, count: 0, calls: 0, error: null, by, reason, until });
    return breakerOf(name);
  };

  const jobOf = (id) => world.jobs.find((job) => job.id === id) ?? raise(missing("job"));
  const raise = (error) => {
    throw error;
  };
  const runAgain = (job) => {
    job.attempts_list.push({ attempt: job.attempts + 1, outcome: "requeued", started_at: iso(Date.now()), finished_at: iso(Date.now()), duration_ms: null, category: null, code: null, error: null, status: null, request: null, response_excerpt: null, next_attempt_at: null, by: "ada@example.com" });
    Object.assign(job, { state: "waiting", attempts: job.attempts + 1, finished_at: null, next_attempt_at: null, last_error: null, created_at: job.created_at });
    for (const kind of ["job", "dead_letter"]) {
      let ids = world.changed.get(kind);
      if (!ids) world.changed.set(kind, (ids = new Set()));
      ids.add(job.id);
    }
  };
  const timelineOf = (object, url) => {
    if (object === "") throw invalid("?object", "is not an id");
    const events = world.events.filter((event) => isAbout(event, object)).sort((a, b) => (a.received_at < b.received_at ? 1 : -1));
    if (url.searchParams.get("order") === "oldest") events.reverse();
    const { items, next_cursor } = page(events, url);
    const counts = new Map();
    for (const { name, id } of events.slice(0, 100).flatMap(objectsOf).filter(({ id }) => id !== object)) {
      const key = `${name} ${id}`;
      counts.set(key, { name, id, events: (counts.get(key)?.events ?? 0) + 1 });
    }
    return {
      object,
      items: items.map((event) => ({ ...shortEvent(event), objects: objectsOf(event), steps: stepsOf(event), steps_truncated: false })),
      related: [...counts.values()].sort((a, b) => b.events - a.events).slice(0, 30),
      index: { until: iso(Date.now()), complete: true, reindexing: [] },
      next_cursor,
    };
  };
  const eventsOf = (selection) =>
    world.events
      .map((event) => [event, shortEvent(event)])
      .filter(
        ([event, short]) =>
          (!selection.event_ids || selection.event_ids.includes(event.id)) &&
          (!selection.source || event.source_name === selection.source || event.source_id === selection.source) &&
          (!selection.type || (selection.type.endsWith("*") ? event.type.startsWith(selection.type.slice(0, -1)) : event.type === selection.type)) &&
          (!selection.status || short.status === selection.status) &&
          (!selection.violates || event.violation) &&
          (!selection.conflicts || event.conflicts > 0) &&
          (!selection.tenant || event.tenant_id === selection.tenant) &&
          (!selection.q || isAbout(event, selection.q)) &&
          (!selection.from || event.received_at >= selection.from) &&
          (!selection.to || event.received_at < selection.to),
      );

  // What was billed before would change, the rest would come; of a push nobody can tell.
  const dryJob = ([event, { id, name, handler }], at) => {
    const row = { amount_minor: event.payload?.data?.object?.amount_paid ?? 4900, currency: "EUR", type: event.type, provider_id: event.provider_id };
    const before = [null, { ...row, amount_minor: row.amount_minor - 100 }, row][Math.floor(at / 3) % 3];
    return {
      event_id: event.id, type: event.type, binding_id: id, name, kind: handler.kind === "endpoint" ? "endpoint.deliver" : handler.name,
      changes: handler.kind === "endpoint" ? null : [{ what: "billing event", before, after: row }], failure: null,
    };
  };

  const routes = {
    "GET /v1/session": () => ({ user: { id: world.users[0].id, email: world.users[0].email, role: "owner" }, key: null, role: "owner", tenant_id: null, version: "0.1.0-fake", database: "sqlite", demo: false }),
    "GET /v1/overview": (_, url) => world.overview(url.searchParams.get("window") ?? "1h"),
    "GET /v1/health": () => ({ status: "ok", checks: { database: { status: "ok", latency_ms: 0.4 }, queue: { status: "ok", depth: world.backlog().waiting, oldest_waiting_secs: world.oldestWaiting() }, engine: { status: "ok", owner: "this node" } }, version: "0.1.0-fake", uptime_secs: (Date.now() - world.started) / 1000, timestamp: iso(Date.now()) }),
    "GET /v1/vault": () => ({ on: true, whole: true, master_keys: [{ id: "3f9a0c51d2e87b64", configured: true, wraps: true, current: world.tenants.length + 1, retired: 0 }, { id: "a1204cc09b7e5d33", configured: true, wraps: false, current: 0, retired: 2 }], rotation: { mode: "data", phase: "done", started_by: "user:ada@example.com", started_at: iso(Date.now() - 3 * DAY), ended_at: iso(Date.now() - 3 * DAY + 60_000), keys_wrapped: 4, rows: 18_204, values_sealed: 31_877, values_unreadable: 0, keys_removed: 2 } }),
    "GET /v1/tenants": (_, url) => page(world.tenants, url),
    "POST /v1/tenants": (body) => {
      if (world.tenants.some(({ slug }) => slug === body.slug)) throw invalid("/slug", "this slug is taken");
      const made = { id: world.id("ten"), name: body.name, slug: body.slug, created_at: iso(Date.now()) };
      world.tenants.push(made);
      world.record("tenant.create", made.id, { slug: made.slug });
      return made;
    },
    "POST /v1/tenants/:id/erase": (body, __, { id }) => {
      const tenant = world.tenants.find((each) => each.id === id);
      if (body.confirm !== tenant?.slug) throw invalid("/confirm", "is not the tenant's slug");
      world.record("tenant.erase", id);
      return { tenant_id: id, keys_destroyed: 1 };
    },
    "DELETE /v1/tenants/:id": (_, __, { id }) => {
      if (world.sources.some(({ tenant_id }) => tenant_id === id)) throw new Refused(409, "in_use", "The tenant is in use", "Delete its sources and endpoints first.");
      world.tenants = world.tenants.filter((each) => each.id !== id);
    },
    "GET /v1/users": (_, url) => page(world.users, url),
    "POST /v1/users": (body) => {
      if (!/^[^@\s]+@[^@\s]+$/.test(body.email ?? "")) throw invalid("/email", "this is not an e-mail address");
      if ((body.password ?? "").length < 10) throw invalid("/password", "at least 10 characters");
      const made = { id: world.id("usr"), email: body.email, role: body.role, created_at: iso(Date.now()), last_seen_at: null };
      world.users.push(made);
      world.record("user.create", made.id, { email: made.email });
      return made;
    },
    "PATCH /v1/users/:id": (body, _, { id }) => {
      const user = world.users.find((each) => each.id === id) ?? raise(missing("user"));
      if (body.role) user.role = body.role;
      return user;
    },
    "DELETE /v1/users/:id": (_, __, { id }) => void (world.users = world.users.filter((each) => each.id !== id)),
    "GET /v1/keys": (_, url) => page(world.keys, url),
    "POST /v1/keys": (body) => {
      const key = { id: world.id("key"), name: body.name, role: body.role, tenant_id: body.tenant_id ?? null, created_at: iso(Date.now()), last_used_at: null, expires_at: null, limits: [] };
      world.keys.push(key);
      world.record("key.create", key.id, { name: key.name });
      return { key, secret: world.newKeySecret() };
    },
    "PATCH /v1/keys/:id": ({ limits }, _, { id }) => {
      const key = world.keys.find((each) => each.id === id);
      key.limits = limits.map((limit) => ({ until: null, ...limit, by: "user:ada@example.com", at: iso(Date.now()) }));
      return key;
    },
    "DELETE /v1/keys/:id": (_, __, { id }) => void (world.keys = world.keys.filter((each) => each.id !== id)),
    "GET /v1/audit": (_, url) => {
      const asked = (name) => url.searchParams.get(name);
      const action = asked("action");
      const fits = (entry) =>
        ["actor", "subject"].every((name) => asked(name) === null || entry[name] === asked(name)) &&
        (action === null || (action.endsWith(".") ? entry.action.startsWith(action) : entry.action === action));
      return page(world.audit.filter(fits), url);
    },
    "GET /v1/audit/head": () => ({ position: world.audit.length, hash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", sealed_at: iso(Date.now()) }),

    "GET /v1/sources": (_, url) => page(world.sources, url),
    "POST /v1/sources": (body) => {
      if (!/^[a-z0-9][a-z0-9_-]*$/.test(body.name ?? "")) throw invalid("/name", "lower-case letters, digits, - and _ only");
      if (world.sources.some(({ name }) => name === body.name)) throw invalid("/name", "this name is taken");
      if (body.scheme === "stripe" && !body.secret) throw invalid("/secret", "Stripe makes the secret: paste it here");
      const generated = body.secret ? null : world.newSecret();
      const source = world.addSource({ ...body, secret: body.secret ?? generated });
      world.record("source.create", source.id, { name: source.name });
      return { source, secret: generated };
    },
    "GET /v1/sources/:id": (_, __, { id }) => world.sources.find((each) => each.id === id || each.name === id) ?? raise(missing("source")),
    "PATCH /v1/sources/:id": ({ settings, verify_token, ...body }, _, { id }) => {
      const source = world.sources.find((each) => each.id === id) ?? raise(missing("source"));
      if (body.name && world.sources.some((each) => each.name === body.name && each !== source)) throw invalid("/name", "this name is taken");
      if (settings?.answer && (settings.answer.status < 200 || settings.answer.status > 299)) throw invalid("/settings/answer/status", "must be between 200 and 299");
      // Settings are taken whole: what is left out is what is usual.
      const whole = settings && { tolerance_secs: 300, body_limit_bytes: 1048576, allow: [], expect: [], ...settings };
      return Object.assign(source, body, body.name && { url: `/in/${body.name}` }, whole && { settings: whole }, { updated_at: iso(Date.now()) });
    },
    "DELETE /v1/sources/:id": (_, __, { id }) => {
      if (world.bindings.some(({ source_id }) => source_id === id)) throw new Refused(409, "in_use", "The source is in use", "Delete its bindings first.");
      world.sources = world.sources.filter((each) => each.id !== id);
    },
    "POST /v1/sources/:id/secrets": (body, _, { id }) => {
      const source = world.sources.find((each) => each.id === id) ?? raise(missing("source"));
      const generated = body.secret ? null : world.newSecret();
      const secret = world.addSecret(source, body.secret ?? generated);
      return { id: secret.id, secret: generated };
    },
    "DELETE /v1/sources/:id/secrets/:secret": (_, __, { id, secret }) => {
      const source = world.sources.find((each) => each.id === id) ?? raise(missing("source"));
      source.secrets = source.secrets.filter((each) => each.id !== secret);
    },
    "GET /v1/sources/:id/drift": (_, url, { id }) => page(world.driftOf(id), url),
    "POST /v1/sources/:id/drift/acknowledge": ({ ids }, _, { id }) => {
      const seen = world.driftOf(id).filter((each) => !ids || ids.includes(each.id));
      world.seen = [...(world.seen ?? []), ...seen.map((each) => each.id)];
      return { acknowledged: seen.length };
    },
    "GET /v1/sources/:id/rhythm": (_, url, { id }) => world.rhythmOf(id, url),
    "GET /v1/sources/:id/rhythm/signals": (_, url, { id }) => page(world.signalsOf(id), url),
    "GET /v1/sources/:id/expected": (_, url, { id }) => page(world.expectedOf(id), url),
    "GET /v1/sources/:id/expected/rules": () => ({ rules: [] }),
    "POST /v1/sources/:id/expected/acknowledge": ({ ids }, _, { id }) => {
      const seen = world.expectedOf(id).filter((each) => !ids || ids.includes(each.id));
      world.seen = [...(world.seen ?? []), ...seen.map((each) => each.id)];
      return { acknowledged: seen.length };
    },
    "GET /v1/sources/:id/schemas": (_, url, { id }) => page((world.schemas ?? []).filter(({ source_id }) => source_id === id), url),
    "GET /v1/sources/:id/schemas/:schema": (_, __, { schema }) => (world.schemas ?? []).find((each) => each.id === schema) ?? raise(missing("schema")),
    "POST /v1/sources/:id/schemas": (body, _, { id }) => {
      if (!body.types) throw invalid("/types", "must be one type, 'prefix.*' or '*'");
      world.schemas ??= [];
      let made = world.schemas.find(({ source_id, types }) => source_id === id && types === body.types);
      if (!made) world.schemas.push((made = { id: world.id("sch"), source_id: id, types: body.types, version: 0, versions: [], stats: { checked: 0, violated: 0, incomplete: 0, unchecked: 0 } }));
      Object.assign(made, { version: made.version + 1, created_at: iso(Date.now()), schema: body.schema });
      made.versions.unshift({ version: made.version, created_at: made.created_at, schema: body.schema });
      return made;
    },
    "DELETE /v1/sources/:id/schemas/:schema": (_, __, { schema }) => {
      world.schemas = (world.schemas ?? []).filter((each) => each.id !== schema);
    },
    "GET /v1/sources/:id/waiting": () => ({ items: [], next_cursor: null }),
    // Those of the last hour are genuine, so that there is something to release.
    "POST /v1/sources/:id/reverify": ({ plan }, _, { id }) => {
      const source = world.sources.find((each) => each.id === id) ?? raise(missing("source"));
      const mine = world.receipts.filter(({ source_name }) => source_name === source.name);
      const genuine = mine.filter(({ received_at }) => Date.parse(received_at) > Date.now() - 3600_000);
      const counts = new Map();
      for (const receipt of mine.filter((each) => !genuine.includes(each))) counts.set(receipt.reason, (counts.get(receipt.reason) ?? 0) + 1);
      if (!plan) world.receipts = world.receipts.filter((each) => !genuine.includes(each));
      return {
        examined: mine.length, genuine: genuine.length, released: plan ? 0 : genuine.length, duplicates: 0, conflicts: 0,
        still_refused: [...counts].map(([reason, count]) => ({ reason, count })), next: null,
      };
    },
    "GET /v1/receipts": (_, url) => {
      const source = url.searchParams.get("source");
      return page(world.receipts.filter(({ source_name }) => !source || source_name === source).map(({ diagnosis, ...receipt }) => receipt).toReversed(), url);
    },
    "GET /v1/receipts/:id": (_, __, { id }) => {
      const headers = { "content-type": "application/json; charset=utf-8", "user-agent": "webhooks/1.0", "x-signature": "sha256=6f1ed002ab5595859014ebf0951522d9", host: "hooks.acme-learning.example" };
      const refused = world.receipts.find((each) => each.id === id);
      if (refused) return { ...refused, headers };
      const event = world.events.find(({ receipts }) => receipts.some((each) => each.id === id)) ?? raise(missing("receipt"));
      const { received_at, verdict, remote } = event.receipts.find((each) => each.id === id);
      return { id, source_id: event.source_id, source_name: event.source_name, received_at, verdict, reason: null, remote, bytes: event.payload_bytes, headers: event.headers, diagnosis: null };
    },

    "GET /v1/endpoints": (_, url) => page(world.endpointList(), url),
    "POST /v1/endpoints": (body) => {
      if (!/^https?:\/\//.test(body.url ?? "")) throw invalid("/url", "begins with https:// (or http:// where the configuration allows it)");
      const endpoint = world.addEndpoint(Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined)));
      world.record("endpoint.create", endpoint.id, { name: endpoint.name });
      return { endpoint, secret: world.newSecret() };
    },
    "GET /v1/endpoints/:id": (_, __, { id }) => world.endpointList().find((each) => each.id === id || each.name === id) ?? raise(missing("endpoint")),
    "PATCH /v1/endpoints/:id": ({ headers = {}, ...body }, _, { id }) => {
      const endpoint = world.endpoints.find((each) => each.id === id) ?? raise(missing("endpoint"));
      if (body.timeout_ms < 100 || body.timeout_ms > 120000) throw invalid("/timeout_ms", "must be between 100 and 120000");
      const names = new Set(endpoint.header_names);
      for (const [name, value] of Object.entries(headers)) {
        if (/^(host|user-agent|webhook-|mainstay-)/i.test(name)) throw invalid(`/headers/${name}`, "is set by Mainstay or belongs to the connection");
        if (value === null) names.delete(name.toLowerCase());
        else names.add(name.toLowerCase());
      }
      Object.assign(endpoint, body, { header_names: [...names].sort(), updated_at: iso(Date.now()) });
      return world.endpointList().find((each) => each.id === id);
    },
    "DELETE /v1/endpoints/:id": (_, __, { id }) => {
      if (world.bindings.some(({ handler }) => handler.endpoint_id === id)) throw new Refused(409, "in_use", "The endpoint is in use", "Delete the bindings that lead to it first.");
      world.endpoints = world.endpoints.filter((each) => each.id !== id);
    },
    "POST /v1/endpoints/:id/secret": ({ overlap_secs = 86_400 }, _, { id }) => {
      const endpoint = world.endpoints.find((each) => each.id === id) ?? raise(missing("endpoint"));
      const secret = world.newSecret();
      const previous_until = overlap_secs > 0 ? iso(Date.now() + overlap_secs * SECOND) : null;
      const before = endpoint.secrets.map(({ hint, until }) => ({ hint, until: until ?? previous_until }));
      endpoint.secrets = [{ hint: `…${secret.slice(-4)}`, until: null }, ...(previous_until ? before.slice(0, 3) : [])];
      return { secret, previous_until };
    },
    "DELETE /v1/endpoints/:id/secret/previous": (_, __, { id }) => {
      const endpoint = world.endpoints.find((each) => each.id === id) ?? raise(missing("endpoint"));
      endpoint.secrets = endpoint.secrets.slice(0, 1);
    },
    "GET /v1/bindings": (_, url) => page(world.bindings, url),
    "POST /v1/bindings": (body) => world.addBinding(body),
    "PATCH /v1/bindings/:id": (body, _, { id }) => world.changeBinding(world.bindings.find((each) => each.id === id) ?? raise(missing("binding")), body),
    "DELETE /v1/bindings/:id": (_, __, { id }) => void (world.bindings = world.bindings.filter((each) => each.id !== id)),

    "GET /v1/events": (_, url) => {
      const found = eventsOf(Object.fromEntries(url.searchParams)).map(([, short]) => short).sort((a, b) => (a.received_at < b.received_at ? 1 : -1));
      // Of what there is none of, the first look says how far it came.
      if (found.length === 0 && url.searchParams.get("status") && !url.searchParams.get("cursor")) {
        return { items: [], next_cursor: "older", looked_back_to: iso(Date.now() - 6 * HOUR) };
      }
      return { ...page(found, url), looked_back_to: null };
    },
    "GET /v1/events/:id": (_, __, { id }) => {
      const event = world.events.find((each) => each.id === id) ?? raise(missing("event"));
      return { ...event, ...shortEvent(event), objects: objectsOf(event) };
    },
    "GET /v1/timeline": (_, url) => timelineOf(url.searchParams.get("object") ?? "", url),
    "GET /v1/replays": (_, url) => page(world.replays.filter(({ state }) => !url.searchParams.get("state") || state === url.searchParams.get("state")), url),
    "GET /v1/replays/:id": (_, __, { id }) => world.replays.find((each) => each.id === id) ?? raise(missing("replay")),
    "POST /v1/replays": (body) => {
      const events = eventsOf(body.selection).map(([event]) => event);
      if (!body.plan) return world.replay(events, body, "ada@example.com", Date.now());
      const matched = events.flatMap((event) => world.goals(event, body).map((goal) => [event, goal]));
      const done = ([event, { id }]) => event.jobs_list.some((job) => job.binding_id === id && job.state === "done");
      const made = matched.filter((pair) => !(body.skip_done && done(pair)));
      const rate_per_second = body.rate_per_second ?? 50;
      return {
        events: events.length,
        jobs: made.length,
        already_done: matched.filter(done).length,
        goals: [...new Set(matched.map(([, { name }]) => name))].map((name) => ({
          binding_id: matched.find(([, goal]) => goal.name === name)[1].id,
          name,
          jobs: made.filter(([, goal]) => goal.name === name).length,
          already_done: matched.filter((pair) => pair[1].name === name && done(pair)).length,
        })),
        at_least: false,
        rate_per_second,
        duration_secs: Math.ceil(made.length / rate_per_second),
        effects: body.effects ? { events: Math.min(100, events.length), more: events.length > 100, jobs: made.slice(0, 200).map(dryJob) } : null,
      };
    },
    ...Object.fromEntries(
      Object.entries({ pause: "paused", resume: "running", stop: "stopped" }).map(([wish, state]) => [
        `POST /v1/replays/:id/${wish}`,
        (_, __, { id }) => Object.assign(world.replays.find((each) => each.id === id) ?? raise(missing("replay")), { state }),
      ]),
    ),

    "GET /v1/sagas": (_, url) => page(world.sagas.map(({ versions, open_runs, ...saga }) => saga), url),
    "GET /v1/sagas/:id": (_, __, { id }) => world.sagas.find((each) => each.id === id) ?? raise(missing("saga")),
    "GET /v1/saga-runs": (_, url) => {
      const [saga, state] = [url.searchParams.get("saga"), url.searchParams.get("state")];
      return page(world.sagaRuns.filter((run) => (!saga || run.saga_id === saga) && (!state || run.state === state)), url);
    },
    "GET /v1/saga-runs/:id": (_, __, { id }) => sagaRunOf(id),
    "POST /v1/saga-runs/:id/decide": ({ step, approved, reason }, _, { id }) => {
      const run = sagaRunOf(id);
      const [asked, next] = [run.steps[1], run.steps[2]];
      Object.assign(asked, { state: approved ? "done" : "failed", finished_at: iso(Date.now()), verdict: { approved, by: "user:ada@acme.example", reason: reason ?? null, at: iso(Date.now()) } });
      Object.assign(next, approved ? { state: "running", started_at: iso(Date.now()) } : { state: "skipped" });
      return Object.assign(run, approved ? { state: "running" } : { state: "compensating", error: `${step}: it was rejected` });
    },
    "POST /v1/saga-runs/:id/cancel": ({ reason }, _, { id }) => Object.assign(sagaRunOf(id), { state: "compensating", cancel: { by: "user:ada@acme.example", reason: reason ?? null, at: iso(Date.now()) }, error: "user:ada@acme.example cancelled it" }),
    "POST /v1/saga-runs/:id/retry": (_, __, { id }) => Object.assign(sagaRunOf(id), { state: "compensating" }),
    "GET /v1/schedules": (_, url) => page(world.schedules.map(({ runs, ...schedule }) => schedule), url),
    "POST /v1/schedules/preview": ({ cron, zone, count = 10 }) => {
      if (cron.trim().split(/\s+/).length < 5 && !cron.startsWith("@")) throw invalid("/cron", "must be five fields (minute hour day month weekday)");
      return { zone: zone ?? "UTC", follows_clock: false, ticks: world.ticks(count), clock_changes: [] };
    },
    "POST /v1/schedules": (body) => {
      if (!/^[a-z0-9][a-z0-9_-]*$/.test(body.name)) throw invalid("/name", "must be 1 to 63 lower-case letters, digits, '-' or '_'");
      return world.addSchedule(body, Date.now());
    },
    "GET /v1/schedules/:id": (_, __, { id }) => ({ ...scheduleOf(id), follows_clock: false, next_ticks: world.ticks(10), clock_changes: [] }),
    "GET /v1/schedules/:id/runs": (_, url, { id }) => page(scheduleOf(id).runs, url, "tick"),
    "PATCH /v1/schedules/:id": (body, _, { id }) => Object.assign(scheduleOf(id), body, { updated_at: iso(Date.now()) }),
    "DELETE /v1/schedules/:id": (_, __, { id }) => void (world.schedules = world.schedules.filter((each) => each.id !== id)),
    "POST /v1/schedules/:id/pause": (_, __, { id }) => Object.assign(scheduleOf(id), { paused: true, next_tick: null, next_run_at: null }),
    "POST /v1/schedules/:id/resume": (_, __, { id }) => Object.assign(scheduleOf(id), { paused: false, next_tick: world.ticks(1)[0].at, next_run_at: world.ticks(1)[0].at }),
    "POST /v1/schedules/:id/run": (_, __, { id }) => world.runSchedule(scheduleOf(id), Date.now(), "by_hand"),

    "GET /v1/jobs": (_, url) => {
      const given = Object.fromEntries(url.searchParams);
      return page(
        world.jobs
          .filter(
            (job) =>
              (!given.state || job.state === given.state) &&
              (!given.queue || job.queue === given.queue) &&
              (!given.kind || job.kind === given.kind) &&
              (!given.tenant || job.tenant_id === given.tenant) &&
              (!given.event || job.event_id === given.event),
          )
          .map(shortJob)
          .sort((a, b) => (a.created_at < b.created_at ? 1 : -1)),
        url,
      );
    },
    "GET /v1/jobs/:id": (_, __, { id }) => jobOf(id),
    "POST /v1/jobs/:id/retry": (_, __, { id }) => void runAgain(jobOf(id)),
    "POST /v1/jobs/:id/cancel": (body, _, { id }) => {
      const job = jobOf(id);
      if (["done", "dead", "cancelled"].includes(job.state)) throw new Refused(409, "job_finished", "The job has finished", "There is nothing left to cancel.");
      Object.assign(job, { state: "cancelled", finished_at: iso(Date.now()), next_attempt_at: null, last_error: body.reason ?? null });
      world.record("job.cancel", job.id, { reason: body.reason ?? null });
    },
    "GET /v1/lines": (_, url) => page(world.lines(url.searchParams.get("endpoint")), url),
    "POST /v1/lines/:id/release": (_, __, { id }) => {
      const line = world.lines().find((each) => each.id === id) ?? raise(missing("line"));
      (world.released ??= new Set()).add(id);
      world.record("line.release", id, {});
      return { id, passed_job_id: line.head_job_id };
    },
    "GET /v1/queues": (_, url) => page(queuesOf(), url, "name"),
    "PATCH /v1/queues/:name": ({ weights = {}, ...change }, _, { name }) => {
      if (change.max_in_flight === 0) throw invalid("/max_in_flight", "must be between 1 and 10000");
      const limits = Object.assign(limitsOf(name), change);
      for (const [tenant, weight] of Object.entries(weights)) {
        if (weight === null || weight === 1) delete limits.weights[tenant];
        else limits.weights[tenant] = weight;
      }
      world.record("queue.update", name, limits);
      return queuesOf().find((each) => each.name === name) ?? raise(missing("queue"));
    },
    "GET /v1/queues/:name": (_, __, { name }) => queuesOf().find((each) => each.name === name) ?? raise(missing("queue")),
    ...Object.fromEntries(
      Object.entries({ pause: "paused", resume: "running", drain: "draining" }).map(([wish, flow]) => [
        `POST /v1/queues/:name/${wish}`,
        (_, __, { name }) => {
          (world.flows ??= {})[name] = { flow, flow_at: iso(Date.now()) };
          world.record(`queue.${wish}`, name, {});
          return queuesOf().find((each) => each.name === name) ?? raise(missing("queue"));
        },
      ]),
    ),
    "GET /v1/breakers": (_, url) => page(breakersOf(), url, "dependency"),
    "GET /v1/breakers/:name": (_, __, { name }) => breakerOf(name),
    "GET /v1/breakers/:name/history": (_, url, { name }) => page(breakerHistory(name), url),
    "POST /v1/breakers/:name/open": (body, _, { name }) => holdBreaker(name, "open", "forced_open", body),
    "POST /v1/breakers/:name/close": (body, _, { name }) => holdBreaker(name, "closed", "forced_closed", body),
    "POST /v1/breakers/:name/auto": (_, __, { name }) => holdBreaker(name, breakerOf(name).state, "automatic"),
    "GET /v1/workers": () => ({
      items: [
        { name: "press-1", by: "key:printing", queues: ["letters"], last_seen_at: iso(Date.now() - 2 * SECOND), job_ids: world.jobs.filter(({ kind, state }) => kind === "letter.print" && state === "running").map((job) => job.id) },
        { name: "press-2-with-a-name-that-is-rather-long-for-a-line", by: "key:printing", queues: ["letters", "invoices"], last_seen_at: iso(Date.now() - 40 * SECOND), job_ids: [] },
      ],
    }),
    "GET /v1/job-counts": () => {
      const queues = {};
      for (const { queue, state } of world.jobs) {
        queues[queue] ??= { waiting: 0, active: 0, retrying: 0, completed: 0, failed: 0 };
        const key = { waiting: "waiting", scheduled: "waiting", running: "active", retrying: "retrying", done: "completed", dead: "failed" }[state];
        if (key) queues[queue][key] += 1;
      }
      return { queues, timestamp: iso(Date.now()) };
    },
    "GET /v1/dead-letters": (_, url) => page(deadLetters(Object.fromEntries(url.searchParams)), url, "job_id"),
    "GET /v1/dead-letters/groups": (_, url) => {
      const groups = new Map();
      for (const letter of deadLetters(Object.fromEntries(url.searchParams))) {
        const key = [letter.category, letter.code, letter.endpoint_name, letter.kind].join(" ");
        const group = groups.get(key);
        if (group) {
          group.count += 1;
          group.oldest = letter.died_at;
        } else {
          groups.set(key, { category: letter.category, code: letter.code, endpoint_name: letter.endpoint_name, kind: letter.kind, count: 1, oldest: letter.died_at, newest: letter.died_at, sample_error: letter.error });
        }
      }
      return { items: [...groups.values()].sort((a, b) => b.count - a.count) };
    },
    "POST /v1/dead-letters/retry": (body) => {
      const letters = deadLetters(body.selection);
      if (!body.plan) {
        for (const { job_id } of letters) runAgain(jobOf(job_id));
        world.record("dead_letter.retry", `${letters.length} jobs`, body.selection);
      }
      return { matched: letters.length, retried: body.plan ? 0 : letters.length, by_reason: countBy(letters) };
    },
    "POST /v1/dead-letters/discard": (body) => {
      if (!body.reason) throw invalid("/reason", "a reason is needed");
      const letters = deadLetters(body.selection);
      if (!body.plan) for (const { job_id } of letters) jobOf(job_id).state = "cancelled";
      return { matched: letters.length, discarded: body.plan ? 0 : letters.length };
    },
  };

  const compiled = Object.entries(routes).map(([name, handle]) => {
    const [method, path] = name.split(" ");
    const names = [];
    const pattern = new RegExp(`^${path.replace(/:(\w+)/g, (_, part) => (names.push(part), "([^/]+)"))}$`);
    return { method, pattern, names, handle };
  });

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://fake");
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const html = (body, status = 200, headers = {}) => {
      response.writeHead(status, { "content-type": "text/html; charset=utf-8", ...headers });
      response.end(`<!doctype html><html lang="en"><title>Sign in</title><main><h1>Mainstay (fake)</h1>${body}</main>`);
    };
    const json = (status, body, type = "application/json") => {
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
      response.end(body === undefined ? "" : JSON.stringify(body));
    };

    // For the tests: other worlds, failures, a stream that ends.
    if (url.pathname === "/v1/fake") {
      const wish = JSON.parse(text || "{}");
      if (wish.world) world = createWorld({ empty: wish.world === "empty", now: Date.now() });
      Object.assign(mode, wish.mode ?? {});
      if (wish.reconnect) cutOff.delete(wish.reconnect);
      if (wish.cutOff) {
        cutOff.add(wish.cutOff);
        for (const stream of streams) if (stream.fake === wish.cutOff) stream.destroy();
      }
      return json(200, { keys: [...world.idempotency.keys()].length, mode });
    }
    if (url.pathname === "/signin" || url.pathname === "/signin/link") {
      if (request.method === "POST") {
        response.writeHead(303, { location: "/", "set-cookie": `${COOKIE}; Path=/; HttpOnly; SameSite=Lax` });
        return response.end();
      }
      return html(`<form method="post" action="${url.pathname}${url.search}"><button type="submit">Sign in</button></form>`);
    }
    if (url.pathname === "/signout") {
      response.writeHead(303, { location: "/signin", "set-cookie": "mainstay_session=; Path=/; Max-Age=0" });
      return response.end();
    }
    if (!url.pathname.startsWith("/v1/")) return json(404, {});
    if (!(request.headers.cookie ?? "").includes(COOKIE)) {
      return json(401, { type: "about:blank", title: "Nobody is signed in", status: 401, code: "unauthenticated", detail: "Sign in, or send an API key." }, "application/problem+json");
    }
    if (url.pathname === "/v1/stream") {
      if (cutOff.has(fakeOf(request))) return json(503, { title: "Starting", status: 503, code: "starting" }, "application/problem+json");
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      response.write(": hello\n\n");
      response.fake = fakeOf(request);
      streams.add(response);
      request.on("close", () => streams.delete(response));
      response.on("close", () => streams.delete(response));
      return;
    }
    if (mode.latency) await new Promise((resolve) => setTimeout(resolve, mode.latency));
    if (fakeOf(request) === "failing" && url.pathname !== "/v1/session") {
      return json(503, { type: "about:blank", title: "The database is not available", status: 503, code: "database_unavailable", detail: "Nothing is lost: providers are asked to deliver again. Look at the database, then try again." }, "application/problem+json");
    }
    const payload = /^\/v1\/events\/([^/]+)\/payload$/.exec(url.pathname);
    if (payload) return json(200, world.events.find(({ id }) => id === payload[1])?.payload ?? null);
    if (url.pathname === "/v1/dead-letters/export") {
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      return response.end(deadLetters(Object.fromEntries(url.searchParams)).map((each) => JSON.stringify(each)).join("\n"));
    }
    try {
      for (const { method, pattern, names, handle } of compiled) {
        if (method !== request.method) continue;
        const match = pattern.exec(url.pathname);
        if (!match) continue;
        const args = Object.fromEntries(names.map((name, at) => [name, decodeURIComponent(match[at + 1])]));
        const key = request.headers["idempotency-key"];
        if (method !== "GET" && !key) throw new Refused(400, "idempotency_key_missing", "The request has no Idempotency-Key", "Every write needs one.");
        if (key && world.idempotency.has(key)) return json(200, world.idempotency.get(key));
        const answer = handle(text ? JSON.parse(text) : {}, url, args);
        if (key) world.idempotency.set(key, answer);
        return answer === undefined ? json(204) : json(method === "POST" ? 201 : 200, answer);
      }
      throw missing("address");
    } catch (error) {
      if (error instanceof Refused) return json(error.status, error.body, "application/problem+json");
      console.error(error);
      return json(500, { title: "The fake API broke", status: 500, code: "bug", detail: String(error) }, "application/problem+json");
    }
  });

  return new Promise((resolve) => {
    server.listen(port, host, () => {
      const { port: bound } = server.address();
      resolve({
        port: bound,
        url: `http://${host}:${bound}`,
        link: `/signin/link?token=${LINK_TOKEN}`,
        close: () => {
          clearInterval(timer);
          for (const stream of streams) stream.destroy();
          server.close();
          server.closeAllConnections();
        },
      });
    });
  });
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const api = await startFakeApi({ port: Number(process.env.PORT ?? 4501) });
  console.log(`fake API on ${api.url}; open /signin on the dashboard's address`);
}
