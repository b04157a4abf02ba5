import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Link } from "wouter";
import { queries, useCanWrite, useTenants } from "../api/queries";
import type { EventDetail, JobWithAttempts } from "../api/types";
import { absolute, bytes, plural } from "../lib/format";
import { Attempts, HeaderLines } from "../jobs/attempts";
import { JobActions } from "../jobs/job-actions";
import { Ago, Button, CopyButton, Empty, ButtonLink, Facts, Id, notFound, PageHead, Panel, ProblemCard, Skeleton, TitleSkeleton } from "../ui/basics";
import { Body } from "../ui/body";
import { EventStatusBadge, JobStateBadge, jobLooks } from "../ui/status";
import { Detail, Entry, Timeline } from "../ui/timeline";
import timelineCss from "../ui/timeline.module.css";
import ui from "../ui/ui.module.css";
import css from "./event-page.module.css";
import { ReplayDialog } from "./replay-dialog";
import { type TimelineEntry, timelineOf } from "./timeline";
import { ObjectIds } from "./timeline-page";

const back = { href: "/events", label: "Events" };

export function EventPage({ id }: { id: string }) {
  const { data: event, error, refetch } = useQuery(queries.event(id));
  // The names of what its jobs go through: without them first and with them a moment later, everything would move.
  const bindings = useQuery(queries.bindings());
  const endpoints = useQuery(queries.endpoints());
  if (event && bindings.isFetched && endpoints.isFetched) return <Loaded event={event} />;
  return (
    <>
      <PageHead title={<span className={css.title}>{error ? id : <TitleSkeleton width={220} />}</span>} back={back} documentTitle="Event" sub={error ? undefined : <Skeleton width={340} />} />
      {error ? (
        <Panel label="Problem">
          {notFound(error) ? (
            <Empty icon="question" title="There is no such event" actions={<ButtonLink href="/events">To the events</ButtonLink>}>
              It may belong to a tenant that you do not see, or be older than events are kept.
            </Empty>
          ) : (
            <ProblemCard error={error} onRetry={() => void refetch()} what="The event could not be read" />
          )}
        </Panel>
      ) : (
        <div className={css.columns} aria-busy="true">
          <Panel title="Timeline"><div style={{ height: 460 }}><Skeleton width="60%" /></div></Panel>
          <div className={css.aside}><Panel title="Payload"><div style={{ height: 400 }}><Skeleton width="70%" /></div></Panel></div>
        </div>
      )}
    </>
  );
}

function Loaded({ event }: { event: EventDetail }) {
  const canWrite = useCanWrite("operator");
  const tenants = useTenants();
  const [replaying, setReplaying] = useState(false);
  const selection = useMemo(() => ({ event_ids: [event.id] }), [event.id]);
  const entries = useMemo(() => timelineOf(event), [event]);
  const start = entries[0]!.at;
  return (
    <>
      <PageHead
        back={back}
        documentTitle={event.type}
        title={
          <span className={css.title}>
            <span>{event.type}</span>
            <span><EventStatusBadge status={event.status} /></span>
          </span>
        }
        sub={
          <>
            From <Link href={`/sources/${event.source_id}`}>{event.source_name}</Link>
            {tenants.many && <> for {tenants.nameOf(event.tenant_id)}</>}, received <Ago at={event.received_at} />
          </>
        }
        actions={canWrite && <Button icon="retry" onClick={() => setReplaying(true)}>Replay…</Button>}
      />
      <div className={css.columns}>
        <Panel title="Timeline" padded={false}>
          <Timeline label="What happened to this event">
            {entries.map((entry, at) => (
              <TimelineItem key={at} entry={entry} event={event} start={start} />
            ))}
          </Timeline>
        </Panel>
        <div className={css.aside}>
          <Panel title="Event">
            <Facts
              items={[
                ["Id", <Id key="id" value={event.id} full />],
                ["Provider's id", <Id key="provider" value={event.provider_id} full />],
                ["Received", absolute(event.received_at)],
                ["Occurred", event.occurred_at ? absolute(event.occurred_at) : <span key="none" className="muted">the provider does not say</span>],
                ["Delivered", plural(event.deliveries, "time")],
              ]}
            />
          </Panel>
          {event.objects.length > 0 && (
            <Panel title="About">
              <ObjectIds objects={event.objects} label="Ids in this event" />
            </Panel>
          )}
          {event.violation && <Violation event={event} violation={event.violation} />}
          {event.conflicts_list.map((conflict) => (
            <OtherContent key={conflict.digest} conflict={conflict} />
          ))}
          <Panel title="Payload">
            {event.payload_erased ? (
              <Empty icon="minus" title="It was erased">The key that it was sealed with has been destroyed: nobody can read it any more.</Empty>
            ) : (
            <Body
              label={bytes(event.payload_bytes)}
              json={event.payload}
              text={event.payload_text}
              actions={
                <a href={`/v1/events/${encodeURIComponent(event.id)}/payload`} target="_blank" rel="noreferrer" className="secondary">
                  raw
                </a>
              }
            />
            )}
          </Panel>
          <Panel title="Headers" actions={<CopyButton label="Copy headers" text={Object.entries(event.headers).map(([name, value]) => `${name}: ${value}`).join("\n")} />}>
            <pre className={timelineCss.headers} tabIndex={0} role="group" aria-label="Headers of the request">
              <HeaderLines headers={event.headers} />
            </pre>
          </Panel>
        </div>
      </div>
      {replaying && <ReplayDialog selection={selection} sourceName={event.source_name} onClose={() => setReplaying(false)} />}
    </>
  );
}

/** What it had otherwise than the schema of its type said when it came in. */
function Violation({ event, violation }: { event: EventDetail; violation: NonNullable<EventDetail["violation"]> }) {
  return (
    <Panel title="Not as its schema says">
      <Facts
        items={[
          ...violation.problems.map(({ pointer, problem }): [string, React.ReactNode] => [pointer || "/", problem]),
          ["Schema", <Link key="schema" href={`/sources/${event.source_id}`}>version {violation.version}</Link>],
        ]}
      />
    </Panel>
  );
}

/** Another content that came under its id: the event is what came first. */
function OtherContent({ conflict }: { conflict: EventDetail["conflicts_list"][number] }) {
  const { differences } = conflict;
  return (
    <Panel title="Came again with other content">
      <Facts
        items={[
          ["Came", `${plural(conflict.times, "time")}, the first ${absolute(conflict.first_at)}`],
          ["Its digest", <Id key="digest" value={conflict.digest} full />],
          ["The event's digest", conflict.event_digest ? <Id key="event" value={conflict.event_digest} full /> : "–"],
          ...(differences ?? []).map(({ pointer, event, later }): [string, React.ReactNode] => [
            pointer || "/",
            <span key={pointer}>
              <code>{event ?? "nothing"}</code>, then <code>{later ?? "nothing"}</code>
            </span>,
          ]),
        ]}
      />
      {!differences && <p className="muted">Where the two differ cannot be said: one of them is no JSON, or is not kept.</p>}
      {conflict.more && <p className="muted">They differ in more places.</p>}
    </Panel>
  );
}

function TimelineItem({ entry, event, start }: { entry: TimelineEntry; event: EventDetail; start: string }) {
  switch (entry.kind) {
    case "request":
      return (
        <Entry icon="request" title="Request received" at={entry.at}>
          <Detail>
            <code>POST /in/{event.source_name}</code>
            {entry.receipt && <> from <code>{entry.receipt.remote}</code></>}, {bytes(event.payload_bytes)}
          </Detail>
          {entry.receipt && <Detail><Id value={entry.receipt.id} href={`/receipts/${entry.receipt.id}`} /></Detail>}
        </Entry>
      );
    case "verified":
      return (
        <Entry icon="shield" tone="ok" title="Signature verified, event kept" at={entry.at}>
          <Detail>
            {entry.receipt.secret_hint ? <>Signed with the secret that ends in <code>{entry.receipt.secret_hint.replace(/^…/, "")}</code>. </> : null}
            Acknowledged only after it was committed.
          </Detail>
        </Entry>
      );
    case "unhandled":
      return (
        <Entry icon="minus" title="No binding made a job of it" at={entry.at} since={start}>
          <Detail>
            It is kept all the same. Make a binding on <Link href={`/sources/${event.source_id}`}>the page of {event.source_name}</Link>, then
            replay this event.
          </Detail>
        </Entry>
      );
    case "again": {
      const times = entry.receipts.length;
      const conflict = entry.verdict === "conflict";
      return (
        <Entry
          icon={conflict ? "warning" : "copy"}
          tone={conflict ? "warn" : "idle"}
          title={conflict ? `Delivered again with other content${times > 1 ? `, ${times} times` : ""}` : `Delivered again${times > 1 ? ` ${times} times` : ""}`}
          at={entry.at}
          since={start}
        >
          <Detail>
            {conflict
              ? "The provider sent the same id with a different body. The first one stands; look at both before you trust either."
              : "Known already: acknowledged, and nothing was done twice."}
            {times > 1 && <> The last was <Ago at={entry.last} />.</>}
          </Detail>
        </Entry>
      );
    }
    case "replay":
      return (
        <Entry icon="retry" tone="run" title={`Replayed by ${entry.replay.by}`} at={entry.at} since={start}>
          <Detail>
            {plural(entry.replay.jobs, "new job")}, {entry.replay.endpoint_id ? "to one endpoint" : entry.replay.binding_id ? "through one binding" : "through every binding that matches"}.{" "}
            <Id value={entry.replay.id} />
          </Detail>
        </Entry>
      );
    case "job":
      return <JobEntry job={entry.job} start={start} />;
  }
}

function JobEntry({ job, start }: { job: JobWithAttempts; start: string }) {
  const look = jobLooks[job.state];
  const bindings = useQuery(queries.bindings()).data?.items;
  const endpoints = useQuery(queries.endpoints()).data?.items;
  const binding = bindings?.find(({ id }) => id === job.binding_id);
  const endpoint = endpoints?.find(({ id }) => id === job.endpoint_id);
  return (
    <Entry
      icon={look.icon}
      tone={look.tone}
      at={job.created_at}
      since={start}
      title={
        <span className={css.jobHead}>
          <Link href={`/jobs/${job.id}`}>{binding?.name ?? job.kind}</Link>
          <JobStateBadge state={job.state} />
        </span>
      }
    >
      <Detail>
        <span className={ui.chip}>{job.kind}</span>{" "}
        {job.endpoint_id && <>to <Link href={`/endpoints/${job.endpoint_id}`}>{endpoint?.name ?? "its endpoint"}</Link>, </>}
        attempt {job.attempts} of at most {job.max_attempts}
      </Detail>
      <Attempts job={job} />
      <div className={ui.actions} style={{ marginTop: 8 }}>
        <JobActions job={job} small />
      </div>
    </Entry>
  );
}
