// The one place where the generated schema gets the names that the pages use.
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Problem = Schemas["Problem"];
export type Role = Schemas["Role"];
export type Session = Schemas["Session"];
export type Tenant = Schemas["Tenant"];
export type User = Schemas["User"];
export type Key = Schemas["Key"];
export type AuditEntry = Schemas["AuditEntry"];

export type Scheme = Schemas["Scheme"];
export type HmacSettings = Schemas["HmacSettings"];
export type SourceSettings = Schemas["SourceSettings"];
export type Source = Schemas["Source"];
export type NewSource = Schemas["NewSource"];
export type Receipt = Schemas["Receipt"];
export type Endpoint = Schemas["Endpoint"];
export type NewEndpoint = Schemas["NewEndpoint"];
export type EndpointChange = Schemas["EndpointChange"];
export type Breaker = Schemas["Breaker"];
export type Signing = Schemas["Signing"];
export type Binding = Schemas["Binding"];

export type EventStatus = Schemas["EventStatus"];
export type Event = Schemas["Event"];
export type EventDetail = Schemas["EventDetail"];
export type EventReceipt = Schemas["EventReceipt"];
export type ReplayAnswer = Schemas["ReplayAnswer"];

export type JobState = Schemas["JobState"];
export type Job = Schemas["Job"];
export type JobWithAttempts = Schemas["JobWithAttempts"];
export type Attempt = Schemas["Attempt"];
export type Outcome = Schemas["Outcome"];
export type JobCounts = Schemas["JobCounts"];
export type DeadLetter = Schemas["DeadLetter"];
export type DeadLetterGroup = Schemas["DeadLetterGroup"];
export type DeadLetterSelection = Schemas["DeadLetterSelection"];
export type ReasonCount = Schemas["ReasonCount"];

export type Overview = Schemas["Overview"];
export type OverviewPoint = Schemas["OverviewPoint"];
export type Health = Schemas["Health"];
export type Window = "1h" | "24h" | "7d";

export interface Page<T> {
  items: T[];
  next_cursor?: string | null;
}

/** A new source comes alone, or beside the secret that was made for it. */
export function createdSource(answer: Schemas["CreatedSource"]): { source: Source; secret: string | null } {
  return "source" in answer
    ? { source: answer.source, secret: answer.secret ?? null }
    : { source: answer, secret: null };
}

// What /v1/stream sends. Server-sent events are not in the OpenAPI document.

export interface Tick {
  at: string;
  /** Per second, over the last second. */
  rates: { received: number; done: number; failed: number };
  backlog: { waiting: number; running: number; retrying: number };
  dead_letters: number;
  oldest_waiting_secs?: number | null;
}

export type ChangeKind = "event" | "job" | "dead_letter" | "endpoint" | "source";

export interface Change {
  kind: ChangeKind;
  ids: string[];
  /** There were more than `ids` names. */
  more: boolean;
}
