import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { queries, useSession } from "../api/queries";
import { ApiError } from "../api/problem";
import { Ago, Panel, ProblemCard } from "../ui/basics";
import css from "./workers.module.css";

/** Who takes jobs, as long as anybody does. It is about the whole installation: who is bound to one tenant does not see it. */
export function Workers() {
  const bound = useSession()?.tenant_id != null;
  const { data, error, refetch } = useQuery({ ...queries.workers(), enabled: !bound });
  if (bound) return null;
  if (error && !data) {
    return (
      <div className={css.below}>
        <Panel title="Workers">
          {error instanceof ApiError && error.problem.code === "not_the_owner" ? (
            <p className="muted">The node that answers here does not hand out the jobs; the one that does knows the workers.</p>
          ) : (
            <ProblemCard error={error} onRetry={() => void refetch()} what="The workers could not be listed" />
          )}
        </Panel>
      </div>
    );
  }
  // Most installations have none: nothing is said about what nobody uses.
  if (!data || data.items.length === 0) return null;
  return (
    <div className={css.below}>
      <Panel title="Workers">
        <ul className={css.workers} aria-label="Workers">
          {data.items.map((worker) => (
            <li key={worker.name}>
              <strong className="truncate" title={`${worker.name}, ${worker.by}`}>{worker.name}</strong>
              <span className="secondary truncate">{worker.queues.join(", ") || "no queue yet"}</span>
              <span className={css.hand}>
                {worker.job_ids[0] === undefined ? (
                  <span className="muted">nothing in hand</span>
                ) : (
                  <>
                    <Link href={`/jobs/${worker.job_ids[0]}`}>a job</Link>
                    {worker.job_ids.length > 1 && ` and ${worker.job_ids.length - 1} more`} in hand
                  </>
                )}
              </span>
              <span className="muted">heard of <Ago at={worker.last_seen_at} /></span>
            </li>
          ))}
        </ul>
      </Panel>
    </div>
  );
}
