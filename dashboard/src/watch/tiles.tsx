import type { ReactNode } from "react";
import { Link } from "wouter";
import { useTick } from "../api/live-provider";
import type { Overview, Window } from "../api/types";
import { compact, count, percent, plural, rate, span } from "../lib/format";
import { Skeleton } from "../ui/basics";
import { Icon } from "../ui/icon";
import css from "./overview.module.css";
import { windowWords } from "./windows";

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

/** The numbers of now. */
export function Tiles({ overview, window }: { overview: Overview | undefined; window: Window }) {
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
