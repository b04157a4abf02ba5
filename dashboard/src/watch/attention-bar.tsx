import { Link } from "wouter";
import type { Overview } from "../api/types";
import { Skeleton } from "../ui/basics";
import { Icon } from "../ui/icon";
import { mattersOf } from "./attention";
import css from "./overview.module.css";

/** What has to be known first, in one line. */
export function Attention({ overview }: { overview: Overview | undefined }) {
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
