import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { queries } from "../api/queries";
import type { DeadLetterGroup, Overview, Window } from "../api/types";
import { compact, count, figure, percent } from "../lib/format";
import { useStableOrder } from "../lib/stable-order";
import { ProblemCard, Skeleton } from "../ui/basics";
import { Icon } from "../ui/icon";
import { Reason } from "../ui/status";
import css from "./overview.module.css";
import { windowWords } from "./windows";

/** What became of the jobs of the window, and of the requests that made them. */
export function Standing({ overview, window }: { overview: Overview | undefined; window: Window }) {
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
            <b title={count(value)}>{figure(value)}</b>
            <small>{share(value)}</small>
          </li>
        ))}
      </ul>
      <h3 className={css.rowsTitle}>At the door, {windowWords[window]}</h3>
      <ul className={css.rows} aria-label="Requests">
        {intake.map(({ label, value }) => (
          <li key={label}>
            <span>{label}</span>
            <b title={count(value)}>{figure(value)}</b>
          </li>
        ))}
      </ul>
    </div>
  );
}

const REASONS_SHOWN = 4;

const keyOfReason = ({ category, code, kind, endpoint_name }: DeadLetterGroup) => [category, code, kind, endpoint_name].join(" ");

/** The commonest reasons among the dead letters that wait for a person. */
export function Reasons() {
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
