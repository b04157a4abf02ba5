import { useQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useMemo, useState } from "react";
import { Link } from "wouter";
import { client, unwrap } from "../api/client";
import { queries } from "../api/queries";
import type { ExpectedEvent, Rhythm as Known, RhythmSignal, Source } from "../api/types";
import { compact, count } from "../lib/format";
import { Ago, Button, Empty, Panel, ProblemCard, Waits } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Icon } from "../ui/icon";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";

const Chart = lazy(() => import("../ui/chart"));

const HEIGHT = 150;
const ALL = "";

/** What does not fit, in words. */
export function words({ kind, event_type, expected, actual }: Pick<RhythmSignal, "kind" | "event_type" | "expected" | "actual">): string {
  const of = event_type ?? "all types";
  const came = actual === 0 ? "nothing came" : `${count(actual)} came`;
  return kind === "silence" ? `${of}: silent, ${came} where about ${compact(expected)} were expected` : `${of}: too many, ${came} where about ${compact(expected)} were expected`;
}

/** How many events a source brings, and how many are expected of it at these hours of the week. */
export function Rhythm({ source }: { source: Source }) {
  const [type, setType] = useState(ALL);
  const [week, setWeek] = useState(false);
  const { data, error, refetch } = useQuery(queries.rhythm(source.id, week ? "week" : "day", type));
  const signals = useQuery(queries.rhythmSignals(source.id));
  const open = signals.data?.items ?? [];
  return (
    <Panel
      title="Rhythm"
      actions={
        <Button small aria-pressed={week} onClick={() => setWeek(!week)}>
          {week ? "24 hours" : "7 days"}
        </Button>
      }
    >
      {data !== undefined && open.length > 0 && (
        <ul className={detail.secrets}>
          {open.map((signal) => (
            <li key={signal.id}>
              <Icon name="warning" />
              <span>
                {words(signal)}
                <small> since <Ago at={signal.since} /></small>
              </span>
            </li>
          ))}
        </ul>
      )}
      {error ? (
        <ProblemCard error={error} onRetry={() => void refetch()} what="The rhythm could not be read" />
      ) : data === undefined || signals.isPending ? (
        <Waits height={HEIGHT + 188} />
      ) : data.types.length === 0 ? (
        <Empty icon="events" title="Nothing has come yet">What comes is counted by the hour; after two weeks it is known what to expect.</Empty>
      ) : (
        <div className={detail.stack}>
          <select className={ui.input} aria-label="Type of events" value={type} onChange={(change) => setType(change.target.value)}>
            {data.types.map(({ event_type }) => (
              <option key={event_type ?? ALL} value={event_type ?? ALL}>
                {event_type ?? "All types"}
              </option>
            ))}
          </select>
          <Hours known={data} />
        </div>
      )}
    </Panel>
  );
}

function Hours({ known }: { known: Known }) {
  const { hours } = known;
  const at = useMemo(() => hours.map((hour) => hour.at), [hours]);
  const series = useMemo(
    () => [
      // The hour under way always looks like a collapse.
      { label: "Came", color: "--accent", fill: true, values: hours.map(({ actual }, index) => (index + 1 < hours.length ? actual : null)) },
      { label: "Expected", color: "--ok", dash: [6, 4], values: hours.map(({ expected }) => expected ?? null) },
      { label: "At least", color: "--ink-3", dash: [2, 3], values: hours.map(({ low }) => low ?? null) },
      { label: "At most", color: "--ink-3", dash: [2, 3], values: hours.map(({ high }) => high ?? null) },
    ],
    [hours],
  );
  const own = known.types.find(({ event_type }) => (event_type ?? null) === (known.event_type || null));
  const sum = own?.expected === undefined || own.expected === null ? "what to expect is being learned" : `about ${compact(own.expected)} were expected`;
  const summary = `${count(own?.actual ?? 0)} came, ${sum}.`;
  return (
    <>
      <Suspense fallback={<div style={{ height: HEIGHT + 108 }} />}>
        <Chart title={<span className="muted">by the hour</span>} summary={summary} at={at} series={series} format={compact} height={HEIGHT} />
      </Suspense>
      <p className="muted">{own?.learning ? "This hour of the week is still being learned: it takes two weeks." : "98 in 100 hours lie between the dotted lines."}</p>
    </>
  );
}

/** Events that did not come after what they must follow. */
export function Expected({ source, canWrite }: { source: Source; canWrite: boolean }) {
  const { data, error, refetch } = useQuery(queries.expected(source.id));
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState<unknown>(null);
  const queryClient = useQueryClient();
  const say = useToast();
  const acknowledge = async (ids?: string[]) => {
    setBusy(true);
    setFailed(null);
    try {
      const { acknowledged } = await unwrap(
        client.POST("/v1/sources/{id}/expected/acknowledge", { params: { path: { id: source.id } }, body: ids ? { ids } : {} }),
      );
      say(acknowledged === 1 ? "It is acknowledged" : `${acknowledged} are acknowledged`);
      await queryClient.invalidateQueries({ queryKey: queries.expected(source.id).queryKey });
    } catch (error) {
      setFailed(error);
    } finally {
      setBusy(false);
    }
  };
  const missing: ExpectedEvent[] = data?.items ?? [];
  return (
    <Panel
      title="Expected events"
      padded={false}
      actions={canWrite && missing.length > 1 && <Button small disabled={busy} onClick={() => void acknowledge()}>Acknowledge all</Button>}
    >
      {failed !== null && <ProblemCard error={failed} />}
      {error ? (
        <ProblemCard error={error} onRetry={() => void refetch()} what="What is missing could not be read" />
      ) : data === undefined ? (
        <Waits height={136} />
      ) : missing.length === 0 ? (
        <Empty icon="check" title="Nothing is missing">What must follow which event in time is said by the source’s settings.</Empty>
      ) : (
        <ul className={detail.secrets}>
          {missing.map((one) => (
            <li key={one.id}>
              <Icon name="warning" />
              <span>
                <code>{one.object}</code>
                <small>
                  {one.expected_type} did not come after <Link href={`/events/${one.event_id}`}>{one.rule}</Link> began <Ago at={one.began_at} />
                </small>
              </span>
              {canWrite && (
                <Button small disabled={busy} aria-label={`Acknowledge ${one.object}`} onClick={() => void acknowledge([one.id])}>
                  Acknowledge
                </Button>
              )}
            </li>
          ))}
          {data.next_cursor && <li><span className="muted">There are more: mainstay source expected {source.name}</span></li>}
        </ul>
      )}
    </Panel>
  );
}
