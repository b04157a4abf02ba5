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
export type SourceScheme = Schemas["SourceScheme"];
export type HmacRule = Schemas["HmacRule"];
export type SourceSettings = Schemas["SourceSettings"];
export type Source = Schemas["Source"];
export type NewSource = Schemas["NewSource"];
export type SourceChange = Schemas["SourceChange"];
export type Receipt = Schemas["Receipt"];
export type ReceiptDetail = Schemas["ReceiptDetail"];
export type Diagnosis = Schemas["Diagnosis"];
export type ReverifyAnswer = Schemas["ReverifyAnswer"];
export type WaitingValue = Schemas["WaitingValue"];
export type Drift = Schemas["Drift"];
export type Rhythm = Schemas["Rhythm"];
export type RhythmSignal = Schemas["RhythmSignal"];
export type ExpectedEvent = Schemas["ExpectedEvent"];
export type EventSchema = Schemas["EventSchema"];
export type Endpoint = Schemas["Endpoint"];
export type NewEndpoint = Schemas["NewEndpoint"];
export type EndpointChange = Schemas["EndpointChange"];
export type BreakerSettings = Schemas["BreakerSettings"];
export type RetryPolicy = Schemas["RetryPolicy"];
export type Breaker = Schemas["Breaker"];
export type Signing = Schemas["Signing"];
export type OnDead = Schemas["OnDead"];
export type BindingChange = Schemas["BindingChange"];
export type Binding = Schemas["Binding"];

export type EventStatus = Schemas["EventStatus"];
export type Event = Schemas["Event"];
export type EventDetail = Schemas["EventDetail"];
export type ObjectId = Schemas["ObjectId"];
export type ObjectTimeline = Schemas["Timeline"];
export type TimelineItem = Schemas["TimelineItem"];
export type TimelineStep = Schemas["TimelineStep"];
export type EventReceipt = Schemas["EventReceipt"];
export type ReplaySelection = Schemas["ReplaySelection"];
export type Replay = Schemas["Replay"];
export type ReplayPlan = Schemas["ReplayPlan"];
export type ReplayDryRun = Schemas["ReplayDryRun"];
export type ReplayDryJob = Schemas["ReplayDryJob"];
export type ReplayChange = Schemas["ReplayChange"];
export type ReplayState = Schemas["ReplayState"];

export type JobState = Schemas["JobState"];
export type Job = Schemas["Job"];
export type JobWithAttempts = Schemas["JobWithAttempts"];
export type Attempt = Schemas["Attempt"];
export type Line = Schemas["Line"];
export type Schedule = Schemas["Schedule"];
export type ScheduleWithRuns = Schemas["ScheduleWithRuns"];
export type ScheduleRun = Schemas["ScheduleRun"];
export type SchedulePreview = Schemas["SchedulePreview"];
export type NewSchedule = Schemas["NewSchedule"];
export type Misfire = Schemas["Misfire"];
export type Overlap = Schemas["Overlap"];
export type TickOutcome = Schemas["TickOutcome"];
export type Saga = Schemas["Saga"];
export type SagaAction = Schemas["SagaAction"];
export type SagaStep = Schemas["SagaStep"];
export type SagaVersion = Schemas["SagaVersion"];
export type SagaWithVersions = Schemas["SagaWithVersions"];
export type SagaRun = Schemas["SagaRun"];
export type SagaRunStep = Schemas["SagaRunStep"];
export type SagaRunState = Schemas["SagaRunState"];
export type SagaStepState = Schemas["SagaStepState"];
export type SagaRunWithData = Schemas["SagaRunWithData"];
export type SagaShape = Schemas["SagaShape"];
export type Worker = Schemas["Worker"];
export type MainstayNode = Schemas["Node"];
export type Progress = Schemas["Progress"];
export type Outcome = Schemas["Outcome"];
export type JobCounts = Schemas["JobCounts"];
export type DependencyBreaker = Schemas["DependencyBreaker"];
export type BreakerChange = Schemas["BreakerChange"];
export type Queue = Schemas["Queue"];
export type QueueFlow = Schemas["QueueFlow"];
export type QueueLimits = Schemas["QueueLimits"];
export type QueueChange = Schemas["QueueChange"];
export type QueueRate = Schemas["QueueRate"];
export type QueueTenant = Schemas["QueueTenant"];
export type DeadLetter = Schemas["DeadLetter"];
export type Category = Schemas["Category"];
export type DeadLetterGroup = Schemas["DeadLetterGroup"];
export type DeadLetterSelection = Schemas["DeadLetterSelection"];
export type ReasonCount = Schemas["ReasonCount"];

export type Overview = Schemas["Overview"];
export type OverviewPoint = Schemas["OverviewPoint"];
export type Vault = Schemas["Vault"];
export type Rotation = Schemas["Rotation"];
export type Health = Schemas["Health"];
export type Window = Schemas["Window"];

export interface Page<T> {
  items: T[];
  next_cursor?: string | null;
  /** Where looking for few among very many ended before the page was full: `next_cursor` goes on from there. */
  looked_back_to?: string | null;
}

// What /v1/stream sends, as the data of its messages.
export type Tick = Schemas["Tick"];
export type ChangeKind = Schemas["ChangeKind"];
export type Change = Schemas["Change"];
