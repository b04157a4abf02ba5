import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { client, unwrap } from "../api/client";
import { queries } from "../api/queries";
import type { ObjectId, ObjectTimeline, TimelineItem, TimelineStep } from "../api/types";
import { exact, plural } from "../lib/format";
import { nameQueues } from "../lib/queue";
import { oneOf, text, useParamsInUrl } from "../lib/search-params";
import { Button, Empty, Notice, PageHead, Panel, ProblemCard, Segments, Skeleton } from "../ui/basics";
import { FilterBar, SearchBox } from "../ui/filters";
import type { IconName } from "../ui/icon";
import { EventStatusBadge, eventLooks, type Tone } from "../ui/status";
import { Detail, Entry, Timeline } from "../ui/timeline";
import ui from "../ui/ui.module.css";
import css from "./event-page.module.css";

const params = { object: text(), order: oneOf(["newest", "oldest"] as const, "newest") };
const LIMIT = 20;

/** Where everything about an object is. */
export const timelineHref = (id: string) => `/timeline?object=${encodeURIComponent(id)}`;

/** Ids of objects, each a way to its timeline. */
export function ObjectIds({ objects, label }: { objects: (ObjectId & { events?: number })[]; label: string }) {
  return (
    <ul aria-label={label} style={{ display: "flex", flexWrap: "wrap", gap: 6, margin: 0, padding: 0, listStyle: "none" }}>
      {objects.map(({ name, id, events }) => (
        <li key={`${name} ${id}`} style={{ maxWidth: "100%", overflowWrap: "anywhere" }}>
          <span className="secondary">{name}</span> <Link href={timelineHref(id)} className="mono">{id}</Link>
          {events !== undefined && <span className="secondary"> {plural(events, "event")}</span>}
        </li>
      ))}
    </ul>
  );
}

/** Everything about one customer, payment or repository, found by an id that stands in events. */
export function TimelinePage() {
  const [{ object, order }, change] = useParamsInUrl(params);
  const found = useInfiniteQuery({
    queryKey: ["timeline", object, order],
    enabled: object !== "",
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) => unwrap(client.GET("/v1/timeline", { params: { query: { object, order, limit: LIMIT, cursor: pageParam } } })),
    getNextPageParam: ({ next_cursor }) => next_cursor ?? undefined,
    refetchInterval: 5_000,
  });
  const pages = found.data?.pages ?? [];
  const first = pages[0];
  const items = pages.flatMap(({ items }) => items);
  return (
    <>
      <PageHead
        title="Timeline"
        sub="Everything about one customer, payment or repository: by any id that stands in its events."
        back={{ href: "/events", label: "Events" }}
        documentTitle={object ? `Timeline of ${object}` : "Timeline"}
      />
      <Panel label="Timeline" padded={false}>
        <FilterBar>
          <SearchBox label="Any id, e.g. cus_… or octocat/hello-world" value={object} onChange={(object) => change({ object }, { replace: true })} />
          <Segments<"newest" | "oldest">
            label="Order"
            value={order}
            onChange={(order) => change({ order })}
            options={[
              { value: "newest", label: "Newest first" },
              { value: "oldest", label: "Oldest first" },
            ]}
          />
        </FilterBar>
        {object === "" ? (
          <Empty icon="search" title="Whose story?">
            Paste the id of a customer, a subscription, a payment, a repository, or of an event.
          </Empty>
        ) : found.error ? (
          <ProblemCard error={found.error} onRetry={() => void found.refetch()} />
        ) : first === undefined ? (
          <div style={{ height: 320, padding: 16 }} aria-busy="true"><Skeleton width="60%" /></div>
        ) : items.length === 0 ? (
          <Empty icon="search" title="No event is about this">
            Ids are found where the rules of a source say, and match as they stand. <IndexState index={first.index} />
          </Empty>
        ) : (
          (!first.index.complete || first.index.reindexing.length > 0) && (
            <div style={{ padding: 16, display: "grid", gap: 8 }}>
              <IndexState index={first.index} />
            </div>
          )
        )}
      </Panel>
      {first && first.related.length > 0 && (
        <Panel title="Beside it">
          <ObjectIds objects={first.related} label="Ids in the same events" />
        </Panel>
      )}
      {items.map((item) => (
        <Item key={item.id} item={item} object={object} />
      ))}
      {found.hasNextPage && (
        <div className={ui.actions}>
          <Button disabled={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>Show more</Button>
        </div>
      )}
    </>
  );
}

/** Why the newest may be missing. */
export function IndexState({ index }: { index: ObjectTimeline["index"] }) {
  const sources = useQuery(queries.sources()).data?.items ?? [];
  const nameOf = (id: string) => sources.find((source) => source.id === id)?.name ?? id;
  return (
    <>
      {!index.complete && <Notice>Indexed until <time dateTime={index.until} title={exact(index.until)}>{exact(index.until)}</time>: newer events are still to come.</Notice>}
      {index.reindexing.map(({ source_id, done, total }) => (
        <Notice key={source_id}>
          Events of {nameOf(source_id)} are looked at once more, by its new rules: {done} of {total}.
        </Notice>
      ))}
    </>
  );
}

function Item({ item, object }: { item: TimelineItem; object: string }) {
  const endpoints = useQuery(queries.endpoints()).data?.items ?? [];
  const others = item.objects.filter(({ id }) => id !== object);
  return (
    <Panel
      title={
        <span className={css.jobHead}>
          <Link href={`/events/${item.id}`} className="mono">{item.type}</Link>
          <EventStatusBadge status={item.status} />
          <span className="secondary">{item.source_name}</span>
        </span>
      }
      padded={false}
    >
      <Timeline label={`What happened around ${item.provider_id}`}>
        {item.steps.map((step, at) => (
          <Step key={at} step={step} item={item} endpoints={endpoints} />
        ))}
      </Timeline>
      {item.steps_truncated && <div className="secondary" style={{ padding: "0 16px 12px" }}>There is more: see the event&apos;s page.</div>}
      {others.length > 0 && (
        <div style={{ padding: "0 16px 16px", fontSize: "var(--text-s)" }}>
          <ObjectIds objects={others} label={`Ids in ${item.provider_id}`} />
        </div>
      )}
    </Panel>
  );
}

const attempts: Record<string, Tone> = { succeeded: "ok", failed: "warn", dead: "bad", lost: "warn", unknown: "warn", running: "run" };

/** How a step looks, and what it is called. */
export function look({ what, state }: Pick<TimelineStep, "what" | "state">): { icon: IconName; tone: Tone; title: string } {
  switch (what) {
    case "request":
      return { icon: "request", tone: state === "conflict" ? "warn" : "idle", title: state === "accepted" ? "Request received" : `Delivered again: ${state}` };
    case "event":
      return { icon: "shield", tone: state in eventLooks ? eventLooks[state as keyof typeof eventLooks].tone : "idle", title: "Event kept" };
    case "violation":
      return { icon: "warning", tone: "warn", title: "Not as its schema says" };
    case "finding":
      return { icon: "info", tone: "warn", title: "Says something new" };
    case "replay":
      return { icon: "retry", tone: "run", title: "Replayed" };
    case "job":
      return { icon: "jobs", tone: "idle", title: `Job: ${state}` };
    case "attempt":
      return { icon: state === "succeeded" ? "check" : state === "running" ? "play" : "cross", tone: attempts[state] ?? "idle", title: `Attempt ${state}` };
    case "dead_letter":
      return { icon: "dead", tone: "bad", title: "Dead letter" };
  }
}

function Step({ step, item, endpoints }: { step: TimelineStep; item: TimelineItem; endpoints: { id: string; name: string }[] }) {
  const { icon, tone, title } = look(step);
  const href = step.what === "job" ? `/jobs/${step.id}` : step.what === "event" ? `/events/${step.id}` : null;
  return (
    <Entry icon={icon} tone={tone} title={href ? <Link href={href}>{title}</Link> : title} at={step.at} since={item.received_at}>
      <Detail>{step.what === "job" ? nameQueues(step.text, endpoints) : step.text}</Detail>
    </Entry>
  );
}
