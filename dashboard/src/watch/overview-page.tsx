import { useQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense, useEffect, useMemo } from "react";
import { Link } from "wouter";
import { useTick } from "../api/live-provider";
import { queries } from "../api/queries";
import type { DeadLetterGroup, Endpoint, Overview, OverviewPoint, Source, Window } from "../api/types";
import { commands } from "../lib/commands";
import { compact, count, duration, percent, plural, rate, span } from "../lib/format";
import { oneOf, useParamsInUrl } from "../lib/search-params";
import { useStableOrder } from "../lib/stable-order";
import { Ago, ButtonLink, Empty, PageHead, Panel, ProblemCard, Segments, Skeleton } from "../ui/basics";
import { Icon } from "../ui/icon";
import { EndpointBadge, EnabledBadge, Reason } from "../ui/status";
import { type Column, Table } from "../ui/table";
import { schemes } from "../intake/schemes";
import { mattersOf } from "./attention";
import css from "./overview.module.css";

const Chart = lazy(() => import("../ui/chart"));

const windows = ["1h", "24h", "7d"] as const;
const params = { window: oneOf(windows, "1h") };
const windowWords: Record<Window, string> = { "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days" };
/** Ticks keep the numbers alive; a full answer now and then corrects what they cannot say. */
const CORRECTED_EVERY_MS: Record<Window, number> = { "1h": 15_000, "24h": 30_000, "7d": 60_000 };
const VOLUME_HEIGHT = 254;
const RATE_HEIGHT = 150;
/** At a glance: the rest is a press away. */
const SHOWN = 8;

export function OverviewPage() {
  const [{ window }, change] = useParamsInUrl(params);
  const queryClient = useQueryClient();
  const { data, error, refetch } = useQuery({
    ...queries.overview(window),
    // Another window keeps the numbers of this one until its own are there: nothing jumps.
    placeholderData: (before) => before,
  });

  // Not `refetchInterval`: every tick would start it anew.
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) void queryClient.invalidateQueries({ queryKey: ["overview", window] });
    }, CORRECTED_EVERY_MS[window]);
    return () => clearInterval(timer);
  }, [queryClient, window]);

  return (
    <>
      <PageHead
        title="Overview"
        actions={
          <Segments<Window>
            label="Window"
            value={window}
            onChange={(next) => change({ window: next })}
            options={[
              { value: "1h", label: "Last hour" },
              { value: "24h", label: "24 hours" },
              { value: "7d", label: "7 days" },
            ]}
          />
        }
      />
      {data === undefined && error ? (
        <Panel label="Problem">
          <ProblemCard error={error} onRetry={() => void refetch()} what="The overview could not be read" />
        </Panel>
      ) : (
        <Content overview={data} window={window} />
      )}
    </>
  );
}

function Content({ overview, window }: { overview: Overview | undefined; window: Window }) {
  return (
    <>
      <Attention overview={overview} />
      <Tiles overview={overview} window={window} />
      <div className={css.charts}>
        <Panel label="Throughput" padded={false}>
          <VolumeChart overview={overview} window={window} />
        </Panel>
        <div className={css.column}>
          <Panel title="How jobs stand" padded={false}>
            <Standing overview={overview} window={window} />
          </Panel>
          <Panel title="Why jobs die" padded={false} actions={<Link href="/dead-letters">All</Link>}>
            <Reasons />
          </Panel>
        </div>
      </div>
      <div className={css.tables}>
        <Sources sources={overview?.sources} />
        <Endpoints endpoints={overview?.endpoints} />
      </div>
    </>
  );
}

function Attention({ overview }: { overview: Overview | undefined }) {
  if (overview === undefined) {
    return <div className={css.attention}><Skeleton width={240} /></div>;
  }
  const matters = mattersOf(overview);
  const quiet = overview.totals.received === 0 && overview.totals.done === 0;
  if (matters.length === 0) {
    return (
      <div className={css.attention} data-tone="ok" role="status">
        <Icon name={quiet ? "info" : "check"} />
        <p>
          {overview.sources.length === 0 ? (
            <>
              <strong>Nothing is connected yet.</strong>
              <Link href="/sources">Make a source</Link>
            </>
          ) : quiet ? (
            <><strong>Quiet.</strong> Nothing has arrived in this window, and nothing waits.</>
          ) : (
            <><strong>All is well.</strong> Everything that arrived is done or on its way.</>
          )}
        </p>
      </div>
    );
  }
  const shown = matters.length > 3 ? matters.slice(0, 2) : matters;
  const worst = matters.some(({ tone }) => tone === "bad") ? "bad" : "warn";
  return (
    <div className={css.attention} data-tone={worst} role="status">
      <Icon name="warning" />
      <p>
        {shown.map(({ text, href }) => (
          <Link key={text} href={href}>{text}</Link>
        ))}
        {matters.length > shown.length && <span>and {matters.length - shown.length} more</span>}
      </p>
    </div>
  );
}

function Tile({ label, href, tone, figure, unit, sub }: { label: string; href?: string; tone?: "bad" | "warn"; figure: ReactNode; unit?: string; sub: ReactNode }) {
  const inside = (
    <>
      <span className={css.tileLabel}>{label}</span>
      <span className={css.figure} data-tone={tone}>
        {tone && <Icon name={tone === "bad" ? "dead" : "warning"} size={20} />}
        {figure}
        {unit && <small>{unit}</small>}
      </span>
      <span className={css.sub}>{sub}</span>
    </>
  );
  return href ? <Link href={href} className={css.tile}>{inside}</Link> : <div className={css.tile}>{inside}</div>;
}

function Tiles({ overview, window }: { overview: Overview | undefined; window: Window }) {
  const rates = useTick()?.rates;
  if (overview === undefined) {
    return (
      <div className={css.tiles} aria-busy="true">
        {["Throughput", "Success", "Backlog", "Oldest waiting", "Dead letters"].map((label) => (
          <Tile key={label} label={label} figure={<Skeleton width={84} />} sub={<Skeleton width="70%" />} />
        ))}
      </div>
    );
  }
  const { backlog, totals } = overview;
  const waiting = backlog.waiting + backlog.running + backlog.retrying;
  const oldest = overview.oldest_waiting_secs;
  return (
    <div className={css.tiles} role="group" aria-label="Now">
      <Tile
        label="Throughput"
        href="/events"
        figure={rates ? rate(rates.received) : "–"}
        unit="/s received"
        sub={rates ? `${rate(rates.done)}/s done, ${rate(rates.failed)}/s failed` : "waiting for the live connection"}
      />
      <Tile
        label="Success"
        figure={percent(totals.success_rate)}
        sub={`${plural(totals.failed, "failed try", "failed tries")}, ${windowWords[window]}`}
      />
      <Tile
        label="Backlog"
        href="/jobs?state=waiting"
        figure={compact(waiting)}
        unit={waiting === 1 ? "job" : "jobs"}
        sub={`${compact(backlog.waiting)} waiting, ${compact(backlog.running)} running, ${compact(backlog.retrying)} retrying`}
      />
      <Tile
        label="Oldest waiting"
        href="/jobs?state=waiting"
        tone={oldest != null && oldest > 60 ? "warn" : undefined}
        figure={oldest == null ? "none" : span(oldest)}
        sub={backlog.scheduled > 0 ? `${plural(backlog.scheduled, "job")} scheduled for later` : "nothing scheduled for later"}
      />
      <Tile
        label="Dead letters"
        href="/dead-letters"
        tone={overview.dead_letters > 0 ? "bad" : undefined}
        figure={compact(overview.dead_letters)}
        sub={totals.dead > 0 ? `${count(totals.dead)} in the ${windowWords[window]}` : `none new in the ${windowWords[window]}`}
      />
    </div>
  );
}

const noPoints: OverviewPoint[] = [];

function VolumeChart({ overview, window }: { overview: Overview | undefined; window: Window }) {
  const points = useMemo(() => (overview ? pointsToDraw(overview) : noPoints), [overview]);
  const at = useMemo(() => points.map((point) => point.at), [points]);
  const volume = useMemo(
    () => [
      { label: "Received", color: "--accent", fill: true, values: points.map(({ received }) => received) },
      { label: "Done", color: "--ok", dash: [6, 4], values: points.map(({ done }) => done) },
      { label: "Failed tries", color: "--warn", dash: [2, 3], values: points.map(({ failed }) => failed) },
      { label: "Dead", color: "--bad", dash: [10, 3, 2, 3], values: points.map(({ dead }) => dead) },
    ],
    [points],
  );
  const rates = useMemo(
    () => [{ label: "Tries that failed", color: "--bad", fill: true, values: points.map(failedShare) }],
    [points],
  );
  const holder = <div style={{ height: VOLUME_HEIGHT + RATE_HEIGHT + 152 }} />;
  if (overview === undefined) return holder;
  const { totals } = overview;
  const step = overview.throughput.step_secs;
  const nothing = points.every((point) => point.received === 0 && point.done === 0 && point.failed === 0);
  return (
    <Suspense fallback={holder}>
      <Chart
        title={<h2>Volume <span className="muted">per {step === 60 ? "minute" : span(step)}</span></h2>}
        summary={`Volume over the ${windowWords[window]}: ${count(totals.received)} received, ${count(totals.done)} done, ${count(totals.failed)} failed tries, ${count(totals.dead)} dead.`}
        at={at}
        series={volume}
        format={compact}
        height={VOLUME_HEIGHT}
        empty={nothing ? "Nothing happened in this window" : null}
      />
      <Chart
        title={<h2>Error rate</h2>}
        summary={`Share of tries that failed over the ${windowWords[window]}; the success rate of jobs is ${percent(totals.success_rate)}.`}
        at={at}
        series={rates}
        format={(share) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`}
        height={RATE_HEIGHT}
        range={errorRange}
      />
    </Suspense>
  );
}

/**
 * The step that is not over yet always looks like a collapse, so it is left out. Unless it is all there is: the first
 * event of a new installation should be seen at once.
 */
export function pointsToDraw({ throughput: { points, step_secs }, now }: Pick<Overview, "throughput" | "now">): OverviewPoint[] {
  const last = points[points.length - 1];
  if (last === undefined || Date.parse(last.at) + step_secs * 1000 <= Date.parse(now)) return points;
  const whole = points.slice(0, -1);
  return whole.some(({ received, done, failed }) => received + done + failed > 0) ? whole : points;
}

function failedShare({ done, failed }: OverviewPoint): number | null {
  const tries = done + failed;
  return tries === 0 ? null : failed / tries;
}

/** At least to 5 %, so that a flat line near nothing looks like one. */
const errorRange = (_: number, max: number): [number, number] => [0, Math.min(1.02, Math.max(0.05, max * 1.15))];

function Standing({ overview, window }: { overview: Overview | undefined; window: Window }) {
  if (overview === undefined) {
    return <div className={css.standing}>{[0, 1, 2, 3, 4, 5, 6].map((row) => <Skeleton key={row} width="80%" />)}</div>;
  }
  const { totals, backlog } = overview;
  const pending = backlog.waiting + backlog.running + backlog.retrying;
  const all = totals.done + totals.dead + pending;
  const share = (value: number) => (all === 0 ? "–" : percent(value / all));
  const rows = [
    { tone: "ok", icon: "check", label: "Success", value: totals.done, href: "/jobs?state=done" },
    { tone: "bad", icon: "dead", label: "Failed for good", value: totals.dead, href: `/dead-letters?period=${window}` },
    { tone: "idle", icon: "clock", label: "Pending", value: pending, href: "/jobs?state=waiting" },
  ] as const;
  const intake = [
    { label: "Requests received", value: totals.received },
    { label: "Duplicates, done once", value: totals.duplicates },
    { label: "Refused", value: totals.refused },
  ];
  return (
    <div className={css.standing}>
      <div className={css.stack} aria-hidden="true">
        {all > 0 && rows.filter(({ value }) => value > 0).map(({ tone, value }) => <span key={tone} data-tone={tone} style={{ flexGrow: value }} />)}
      </div>
      <ul className={css.rows} aria-label="Jobs by outcome">
        {rows.map(({ tone, icon, label, value, href }) => (
          <li key={label}>
            <Icon name={icon} className={css[tone]} />
            <span><Link href={href}>{label}</Link></span>
            <b title={count(value)}>{compact(value)}</b>
            <small>{share(value)}</small>
          </li>
        ))}
      </ul>
      <h3 className={css.rowsTitle}>At the door, {windowWords[window]}</h3>
      <ul className={css.rows} aria-label="Requests">
        {intake.map(({ label, value }) => (
          <li key={label}>
            <span />
            <span>{label}</span>
            <b title={count(value)}>{compact(value)}</b>
          </li>
        ))}
      </ul>
    </div>
  );
}

const REASONS_SHOWN = 4;

const keyOfReason = ({ category, code, kind, endpoint_name }: DeadLetterGroup) => [category, code, kind, endpoint_name].join(" ");

/** The commonest reasons among the dead letters that wait for a person. */
function Reasons() {
  const groups = useQuery(queries.deadLetterGroups({}));
  const rows = useStableOrder("", groups.data?.items.slice(0, REASONS_SHOWN), keyOfReason);
  if (groups.data === undefined && groups.error) {
    return <ProblemCard error={groups.error} onRetry={() => void groups.refetch()} what="Reasons could not be read" />;
  }
  return (
    <ul className={css.reasons} aria-label="Commonest reasons" aria-busy={rows === undefined}>
      {rows === undefined && Array.from({ length: REASONS_SHOWN }, (_, row) => <li key={row}><Skeleton width="70%" /></li>)}
      {rows?.length === 0 && (
        <li className="muted">
          <Icon name="check" />
          No dead letters.
        </li>
      )}
      {rows?.map((group) => {
        const { category, code, kind, endpoint_name } = group;
        const search = new URLSearchParams({ category, code, kind, ...(endpoint_name ? { endpoint: endpoint_name } : {}) });
        return (
          <li key={search.toString()}>
            <b title={count(group.count)}>{compact(group.count)}</b>
            <Link href={`/dead-letters?${search}`} title={group.sample_error}>
              <Reason category={category} code={code} />
            </Link>
            <span className="truncate muted">{endpoint_name ?? kind}</span>
          </li>
        );
      })}
    </ul>
  );
}

const sourceColumns: Column<Source>[] = [
  { key: "name", label: "Source", primary: true, card: "title", cell: (source) => <span title={schemes[source.scheme]?.label}>{source.name}</span> },
  { key: "status", label: "Status", width: "112px", card: "status", cell: (source) => <EnabledBadge enabled={source.enabled} /> },
  { key: "events", label: "Events", width: "76px", end: true, cell: ({ stats }) => <span title={count(stats.events)}>{compact(stats.events)}</span> },
  { key: "refused", label: "Refused", width: "76px", end: true, cell: ({ stats }) => <span title={count(stats.refused)}>{compact(stats.refused)}</span> },
  { key: "last", label: "Last event", width: "104px", end: true, cell: ({ stats }) => <Ago at={stats.last_event_at} /> },
];

function Sources({ sources }: { sources: Source[] | undefined }) {
  return (
    <Panel title="Sources" padded={false} actions={<Link href="/sources">All</Link>}>
      {sources?.length === 0 ? (
        <Empty icon="sources" title="No sources yet" command={commands.sourceCreate()} actions={<ButtonLink href="/sources" variant="primary">Make a source</ButtonLink>}>
          A source is the address that a provider sends its webhooks to.
        </Empty>
      ) : (
        <Table label="Sources" columns={sourceColumns} rows={sources?.slice(0, SHOWN)} idOf={(source) => source.id} hrefOf={(source) => `/sources/${source.id}`} skeleton={4} />
      )}
    </Panel>
  );
}

const endpointColumns: Column<Endpoint>[] = [
  { key: "name", label: "Endpoint", primary: true, card: "title", cell: (endpoint) => <span title={endpoint.url}>{endpoint.name}</span> },
  { key: "status", label: "Status", width: "112px", card: "status", cell: (endpoint) => <EndpointBadge breaker={endpoint.breaker} enabled={endpoint.enabled} /> },
  { key: "success", label: "Success", width: "80px", end: true, cell: ({ stats }) => percent(stats.success_rate) },
  { key: "waiting", label: "Waiting", width: "72px", end: true, cell: ({ stats }) => <span title={count(stats.waiting)}>{compact(stats.waiting)}</span> },
  { key: "p99", label: "p99", width: "72px", end: true, cell: ({ stats }) => duration(stats.p99_ms) },
  { key: "last", label: "Last success", width: "104px", end: true, cell: ({ stats }) => <Ago at={stats.last_success_at} /> },
];

const trouble = { open: 0, half_open: 1, closed: 2 } as const;

/** Those in trouble are among the ones shown; all in the order of their names, so that rows keep their places. */
function choose(endpoints: Endpoint[]): Endpoint[] {
  return [...endpoints]
    .sort((a, b) => trouble[a.breaker.state] - trouble[b.breaker.state])
    .slice(0, SHOWN)
    .sort((a, b) => a.name.localeCompare(b.name));
}

function Endpoints({ endpoints }: { endpoints: Endpoint[] | undefined }) {
  const shown = useMemo(() => endpoints && choose(endpoints), [endpoints]);
  return (
    <Panel title="Endpoints" padded={false} actions={<Link href="/endpoints">All</Link>}>
      {shown?.length === 0 ? (
        <Empty icon="endpoints" title="No endpoints yet" command={commands.endpointCreate()} actions={<ButtonLink href="/endpoints" variant="primary">Make an endpoint</ButtonLink>}>
          An endpoint is the address of your own that jobs are pushed to.
        </Empty>
      ) : (
        <Table label="Endpoints" columns={endpointColumns} rows={shown} idOf={(endpoint) => endpoint.id} hrefOf={(endpoint) => `/endpoints/${endpoint.id}`} skeleton={4} />
      )}
    </Panel>
  );
}
