import type { Attempt, JobWithAttempts, Progress } from "../api/types";
import { clock, duration, exact } from "../lib/format";
import { Ago, cx } from "../ui/basics";
import { Body } from "../ui/body";
import { Icon } from "../ui/icon";
import { Badge, OutcomeBadge, Reason } from "../ui/status";
import css from "../ui/timeline.module.css";

/** Every attempt of a job in order, each with what was sent and what was answered, and when the next one is due. */
export function Attempts({ job }: { job: JobWithAttempts }) {
  const attempts = [...job.attempts_list].sort((a, b) => a.attempt - b.attempt);
  const last = attempts[attempts.length - 1];
  return (
    <div className={css.attempts}>
      {attempts.map((attempt) => (
        <AttemptRow key={attempt.attempt} attempt={attempt} openAtFirst={attempt === last && job.state === "dead"} />
      ))}
      <Next job={job} />
    </div>
  );
}

function AttemptRow({ attempt, openAtFirst }: { attempt: Attempt; openAtFirst: boolean }) {
  // No try: the job waited behind another with its ordering key.
  const itsTurn = attempt.outcome === "requeued" && attempt.code === "turn_came";
  const pushed = attempt.request != null || !!attempt.response_excerpt;
  const opens = pushed || attempt.result != null;
  const head = (
    <>
      {opens ? <Icon name="chevron" className={css.chevron} /> : <span className={css.noChevron} />}
      <span className={css.number} title={`Attempt ${attempt.attempt}`}>{attempt.attempt}</span>
      {itsTurn ? <Badge look={{ tone: "run", icon: "play", label: "Its turn came" }} /> : <OutcomeBadge outcome={attempt.outcome} />}
      {attempt.status != null && <span className={css.status}>HTTP {attempt.status}</span>}
      {!itsTurn && <Reason category={attempt.category} code={attempt.code} />}
      {attempt.by && <span className="secondary">by {attempt.by}</span>}
      {attempt.worker && <span className="secondary">{attempt.outcome === "running" ? "in the hands of" : "by"} {attempt.worker}</span>}
      {attempt.progress && <ProgressOf progress={attempt.progress} />}
      <span className={css.took}>
        <time dateTime={attempt.started_at} title={exact(attempt.started_at)}>{clock(attempt.started_at, true)}</time>
        {attempt.duration_ms != null && <> · {duration(attempt.duration_ms)}</>}
      </span>
      {attempt.error && <span className={css.error}>{attempt.error}</span>}
    </>
  );
  if (!opens) return <div className={cx(css.attempt, css.plain)}>{head}</div>;
  return (
    <details className={css.attempt} open={openAtFirst || undefined}>
      <summary>{head}</summary>
      <div className={css.exchange}>
        {attempt.request && (
          <div>
            <p className={css.part}>Request</p>
            <pre className={css.headers} tabIndex={0} role="group" aria-label={`Request of attempt ${attempt.attempt}`}>
              {attempt.request.method} {attempt.request.url}
              {"\n"}
              <HeaderLines headers={attempt.request.headers ?? {}} />
            </pre>
          </div>
        )}
        {attempt.result != null && (
          <div>
            <p className={css.part}>Result</p>
            <Body label={`Result of attempt ${attempt.attempt}`} json={attempt.result} />
          </div>
        )}
        {pushed && <div>
          <p className={css.part}>Answer{attempt.status != null && <> · HTTP {attempt.status}</>}</p>
          {attempt.response_excerpt != null ? (
            <Body label={`Answer to attempt ${attempt.attempt}`} text={attempt.response_excerpt} headless />
          ) : (
            <span className="muted">{attempt.outcome === "running" ? "Not yet." : "There was none."}</span>
          )}
        </div>}
      </div>
    </details>
  );
}

/** How far the worker that has it said it is. */
const ProgressOf = ({ progress }: { progress: Progress }) => (
  <span className="secondary">
    {progress.percent != null && <><progress className={css.progress} max={100} value={progress.percent} aria-label="Progress" /> {progress.percent} % </>}
    {progress.note}
  </span>
);

export const HeaderLines = ({ headers }: { headers: Record<string, string> }) =>
  Object.entries(headers).map(([name, value]) => (
    <span key={name}>
      <b>{name}</b>: {value}
      {"\n"}
    </span>
  ));

function Next({ job }: { job: JobWithAttempts }) {
  const due = job.next_attempt_at ?? (job.state === "scheduled" ? job.run_at : null);
  if (job.state === "waiting" && job.attempts_list.length === 0) {
    return <div className={css.plain}><span className={css.noChevron} /><Icon name="clock" /> Waiting for its turn</div>;
  }
  if (!due || !["retrying", "scheduled", "waiting"].includes(job.state)) return null;
  return (
    <div className={css.plain}>
      <span className={css.noChevron} />
      <Icon name="clock" />
      <span>
        {job.state === "scheduled" ? "Due" : "Next attempt"} <Ago at={due} />
      </span>
      <span className={css.took}>
        <time dateTime={due} title={exact(due)}>{clock(due)}</time>
      </span>
    </div>
  );
}
