// A source's settings as a form has them: pure, so that it can be tested. What the form knows nothing of stays as it is,
// since the API takes settings whole.
import type { HmacRule, SourceScheme, SourceSettings } from "../api/types";
import { type Reader, writeBytes, writeSpan } from "../lib/typed";

/** Where something stands: nowhere, in a header, in the body, or always the same. */
export interface PlaceForm {
  kind: "" | "header" | "pointer" | "fixed";
  at: string;
}

export interface HmacForm {
  header: string;
  algorithm: NonNullable<HmacRule["algorithm"]>;
  encoding: NonNullable<HmacRule["encoding"]>;
  prefix: string;
  signed: string;
  key_encoding: NonNullable<HmacRule["key_encoding"]>;
  timestamp_header: string;
  parts: { separator: string; signature: string; timestamp: string };
}

export interface SettingsForm {
  tolerance: string;
  body_limit: string;
  allow: string;
  url: string;
  answer: { status: string; content_type: string; body: string };
  rate: { per_second: string; burst: string };
  bearer: { header: string; prefix: string };
  /** Where the event's parts stand: of `hmac`, `bearer` and `address`. */
  id: PlaceForm;
  type: PlaceForm;
  occurred_at: PlaceForm;
  hmac: HmacForm;
  /** Written as JSON. */
  tenant: string;
  objects: string;
  expect: string;
}

/** Whose signatures have a time that is judged. */
export const judgesTime = (scheme: SourceScheme): boolean => ["stripe", "standard_webhooks", "slack", "paddle", "whop", "hmac"].includes(scheme);
/** Whose providers send again what was over a rate. */
export const canHaveRate = (scheme: SourceScheme): boolean => scheme !== "github" && scheme !== "twilio";
/** Which say in their settings where an event's parts stand. */
export const readsParts = (scheme: SourceScheme): boolean => scheme === "hmac" || scheme === "bearer" || scheme === "address";

type Place = { header: string } | { pointer: string } | { fixed: string } | "digest" | null | undefined;

function placeForm(place: Place): PlaceForm {
  if (!place || place === "digest") return { kind: "", at: "" };
  const [kind, at] = Object.entries(place)[0] as [PlaceForm["kind"], string];
  return { kind, at };
}

/** An empty list is something that was said. */
const json = (value: unknown): string => (value == null ? "" : JSON.stringify(value, null, 2));
const written = (value: number | null | undefined): string => (value == null ? "" : String(value));

/** The form of these settings; without any that of a new source. */
export function settingsForm(settings?: Partial<SourceSettings>): SettingsForm {
  const { hmac, bearer, event, answer, rate } = settings ?? {};
  const parts = hmac ?? event;
  return {
    tolerance: settings?.tolerance_secs === undefined ? "" : writeSpan(settings.tolerance_secs * 1_000),
    body_limit: settings?.body_limit_bytes === undefined ? "" : writeBytes(settings.body_limit_bytes),
    allow: (settings?.allow ?? []).join("\n"),
    url: settings?.url ?? "",
    answer: { status: written(answer?.status), content_type: answer?.content_type ?? "", body: answer?.body ?? "" },
    rate: { per_second: written(rate?.per_second), burst: written(rate?.burst) },
    bearer: { header: bearer?.header ?? "Authorization", prefix: bearer?.prefix ?? "" },
    id: settings ? placeForm(parts?.id) : { kind: "pointer", at: "/id" },
    type: settings ? placeForm(parts?.type) : { kind: "pointer", at: "/type" },
    occurred_at: placeForm(parts?.occurred_at),
    hmac: {
      header: hmac?.header ?? "X-Signature",
      algorithm: hmac?.algorithm ?? "sha256",
      encoding: hmac?.encoding ?? "hex",
      prefix: hmac?.prefix ?? "",
      signed: hmac?.signed ?? "{body}",
      key_encoding: hmac?.key_encoding ?? "utf8",
      timestamp_header: hmac?.timestamp_header ?? "",
      parts: { separator: hmac?.parts?.separator ?? "", signature: hmac?.parts?.signature ?? "", timestamp: hmac?.parts?.timestamp ?? "" },
    },
    tenant: json(settings?.tenant),
    objects: json(settings?.objects),
    expect: settings?.expect?.length ? json(settings.expect) : "",
  };
}

function place(read: Reader, field: string, { kind, at }: PlaceForm): Exclude<Place, "digest" | null> {
  if (kind === "") return undefined;
  const where = read.needed(field, at.trim() || undefined);
  if (where === undefined) return undefined;
  return kind === "header" ? { header: where } : kind === "pointer" ? { pointer: where } : { fixed: where };
}

/** A place that no fixed value can be. */
const found = (of: ReturnType<typeof place>): { header: string } | { pointer: string } | undefined => (of && "fixed" in of ? undefined : of);

function hmacRule(read: Reader, form: SettingsForm): HmacRule {
  const { hmac } = form;
  const { separator, signature, timestamp } = hmac.parts;
  return {
    header: hmac.header.trim(),
    algorithm: hmac.algorithm,
    encoding: hmac.encoding,
    // Not trimmed: a space may belong to it.
    prefix: hmac.prefix || undefined,
    signed: hmac.signed || undefined,
    key_encoding: hmac.key_encoding,
    timestamp_header: hmac.timestamp_header.trim() || undefined,
    parts: separator || signature ? { separator, signature: signature.trim(), timestamp: timestamp.trim() || undefined } : undefined,
    id: found(place(read, "id", form.id)),
    type: place(read, "type", form.type),
    occurred_at: found(place(read, "occurred_at", form.occurred_at)),
  };
}

/** The settings that the form describes, on top of those that there were. Absent is what empty means. */
export function sourceSettings(read: Reader, scheme: SourceScheme, form: SettingsForm, was: Partial<SourceSettings> = {}): Partial<SourceSettings> {
  const tolerance = read.span("tolerance_secs", form.tolerance);
  const status = read.count("status", form.answer.status);
  const answers = status !== undefined || form.answer.body !== "" || form.answer.content_type.trim() !== "";
  const per_second = read.count("per_second", form.rate.per_second);
  const burst = read.count("burst", form.rate.burst);
  const settings: Partial<SourceSettings> = {
    ...was,
    ...(judgesTime(scheme) && { tolerance_secs: tolerance === undefined ? undefined : Math.round(tolerance / 1_000) }),
    body_limit_bytes: read.bytes("body_limit_bytes", form.body_limit),
    allow: form.allow.split(/[\s,]+/).filter(Boolean),
    answer: answers ? { status: status ?? 200, content_type: form.answer.content_type.trim() || undefined, body: form.answer.body } : undefined,
    rate: canHaveRate(scheme) && per_second !== undefined ? { per_second, burst } : undefined,
    tenant: read.json("tenant", form.tenant) as SourceSettings["tenant"],
    objects: read.json("objects", form.objects) as SourceSettings["objects"],
    expect: read.json("expect", form.expect) as SourceSettings["expect"],
  };
  if (scheme === "twilio") settings.url = form.url.trim() || undefined;
  if (scheme === "hmac") settings.hmac = hmacRule(read, form);
  if (scheme === "bearer") settings.bearer = bearerRule(form, was);
  if (scheme === "bearer" || scheme === "address") {
    settings.event = { id: found(place(read, "id", form.id)), type: place(read, "type", form.type), occurred_at: found(place(read, "occurred_at", form.occurred_at)) };
  }
  return Object.fromEntries(Object.entries(settings).filter(([name, value]) => value !== undefined && !(name === "allow" && (value as string[]).length === 0)));
}

/** Without a prefix the header's usual one stands before the token; one that is known to be none stays none. */
function bearerRule({ bearer }: SettingsForm, was: Partial<SourceSettings>): SourceSettings["bearer"] {
  const none = was.bearer?.prefix === "" && was.bearer.header === bearer.header;
  return { header: bearer.header.trim(), prefix: bearer.prefix || (none ? "" : undefined) };
}
