import { lazy, Suspense, useMemo } from "react";
import type { Overview, OverviewPoint, Window } from "../api/types";
import { compact, count, percent, span } from "../lib/format";
import { windowWords } from "./windows";

const Chart = lazy(() => import("../ui/chart"));

const VOLUME_HEIGHT = 254;
const RATE_HEIGHT = 150;
const noPoints: OverviewPoint[] = [];

/** How much happened in each step of the window, and which share of it failed. */
export function VolumeChart({ overview, window }: { overview: Overview | undefined; window: Window }) {
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
