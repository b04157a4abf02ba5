import type { JobCounts } from "../api/types";
import { compact, count } from "../lib/format";
import { endpointOfQueue } from "../lib/queue";
import { ProblemCard, Skeleton } from "../ui/basics";
import { Icon } from "../ui/icon";
import css from "./jobs-page.module.css";

/** A queue as people call it: an endpoint's by the endpoint's name. */
export const called = (queue: { name: string; endpoint_name?: string | null }): string => queue.endpoint_name ?? queue.name;

type Tally = JobCounts["queues"][string] & { name: string; label: string };

/** The name of a queue; one that belongs to an endpoint has the endpoint's sign. */
export const Queue = ({ name, label }: { name: string; label: string }) => (
  <span className={css.name} title={name}>
    {endpointOfQueue(name) !== null && (
      <>
        <Icon name="endpoints" size={14} />
        <span className="visually-hidden">endpoint </span>
      </>
    )}
    <span className="truncate">{label}</span>
  </span>
);

/** The queues with what stands in them. Pressing one narrows the list to it. */
export function Queues({
  queues,
  chosen,
  onChoose,
  error,
  onRetry,
}: {
  queues: Tally[] | undefined;
  chosen: string;
  onChoose: (queue: string) => void;
  error: unknown;
  onRetry: () => void;
}) {
  if (error) {
    return (
      <div className={css.queues}>
        <ProblemCard error={error} onRetry={onRetry} what="The queues could not be counted" />
      </div>
    );
  }
  return (
    <div className={css.queues}>
      <ul aria-label="Queues">
        {queues === undefined && (
          <li className={css.queue}>
            <Skeleton width="40%" />
            <Skeleton width="85%" />
          </li>
        )}
        {queues?.map((queue) => (
          <li key={queue.name}>
            <button type="button" className={css.queue} aria-pressed={chosen === queue.name} onClick={() => onChoose(chosen === queue.name ? "" : queue.name)}>
              <strong><Queue name={queue.name} label={queue.label} /></strong>
              <span>
                <span title={count(queue.waiting)}><b>{compact(queue.waiting)}</b> waiting</span>
                <span title={count(queue.active)}><b>{compact(queue.active)}</b> running</span>
                <span title={count(queue.retrying)}><b>{compact(queue.retrying)}</b> retrying</span>
                <span title={count(queue.failed)} data-tone={queue.failed > 0 ? "bad" : undefined}><b>{compact(queue.failed)}</b> dead</span>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
