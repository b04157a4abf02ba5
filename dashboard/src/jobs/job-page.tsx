import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { queries, useTenants } from "../api/queries";
import { absolute } from "../lib/format";
import { endpointOfQueue } from "../lib/queue";
import { Ago, ButtonLink, Empty, Facts, Id, notFound, PageHead, Panel, ProblemCard, Skeleton, TitleSkeleton } from "../ui/basics";
import { Body } from "../ui/body";
import { JobStateBadge } from "../ui/status";
import page from "../intake/event-page.module.css";
import { Attempts } from "./attempts";
import { JobActions } from "./job-actions";
import css from "./job-page.module.css";

const back = { href: "/jobs", label: "Jobs" };

export function JobPage({ id }: { id: string }) {
  const { data: job, error, refetch } = useQuery(queries.job(id));
  const tenants = useTenants();
  const endpoints = useQuery(queries.endpoints()).data?.items;
  if (!job) {
    return (
      <>
        <PageHead title={<span className={page.title}>{error ? id : <TitleSkeleton width={220} />}</span>} back={back} documentTitle="Job" sub={error ? undefined : <Skeleton width={300} />} />
        <Panel label="Job">
          {error ? (
            notFound(error) ? (
              <Empty icon="question" title="There is no such job" actions={<ButtonLink href="/jobs">To the jobs</ButtonLink>}>
                It may belong to a tenant that you do not see, or be older than finished jobs are kept.
              </Empty>
            ) : (
              <ProblemCard error={error} onRetry={() => void refetch()} what="The job could not be read" />
            )
          ) : (
            <div style={{ height: 420 }}><Skeleton width="60%" /></div>
          )}
        </Panel>
      </>
    );
  }
  const endpoint = endpoints?.find((each) => each.id === job.endpoint_id);
  return (
    <>
      <PageHead
        back={back}
        documentTitle={job.kind}
        title={
          <span className={page.title}>
            <span>{job.kind}</span>
            <span><JobStateBadge state={job.state} /></span>
          </span>
        }
        sub={
          <>
            {endpointOfQueue(job.queue) ? "In its endpoint's queue" : `In queue ${job.queue}`}
            {tenants.many && <> for {tenants.nameOf(job.tenant_id)}</>}, made <Ago at={job.created_at} />
          </>
        }
        actions={<JobActions job={job} />}
      />
      <div className={page.columns}>
        <Panel title={`Attempts, ${job.attempts} of at most ${job.max_attempts}`} padded={false}>
          <div className={css.attempts}>
            <Attempts job={job} />
          </div>
        </Panel>
        <div className={page.aside}>
          <Panel title="Job">
            <Facts
              items={[
                ["Id", <Id key="id" value={job.id} full />],
                ["Event", job.event_id ? <Id key="event" value={job.event_id} href={`/events/${job.event_id}`} full /> : <span key="none" className="muted">none</span>],
                [
                  "Endpoint",
                  job.endpoint_id ? (
                    <Id key="endpoint" value={endpoint?.name ?? "its endpoint"} href={`/endpoints/${job.endpoint_id}`} copy={false} full />
                  ) : (
                    <span key="none" className="muted">none</span>
                  ),
                ],
                ...(job.replay_id ? ([["Replay", <Id key="replay" value={job.replay_id} />]] as [string, React.ReactNode][]) : []),
                ["Queue", <span key="queue">{job.queue}</span>],
                ["Made", absolute(job.created_at)],
                ...(job.order ? ([["Ordering key", <code key="key">{job.order.key}</code>]] as [string, React.ReactNode][]) : []),
                ...(job.order?.waits && job.line
                  ? ([
                      [
                        "Waits behind",
                        <Link key="head" href={`/jobs/${job.line.head_job_id}`}>{job.line.state === "parked" ? "a dead letter" : "another job"}</Link>,
                      ],
                    ] as [string, React.ReactNode][])
                  : []),
                ...(job.run_at ? ([["Not before", absolute(job.run_at)]] as [string, React.ReactNode][]) : []),
                ...(job.deadline ? ([["Not after", absolute(job.deadline)]] as [string, React.ReactNode][]) : []),
                ["Finished", job.finished_at ? absolute(job.finished_at) : <span key="not" className="muted">not yet</span>],
              ]}
            />
          </Panel>
          <Panel title="Payload">
            {job.payload == null ? (
              <p className="muted">
                {job.event_id ? (
                  <>It is the payload of <Link href={`/events/${job.event_id}`}>the event</Link>, which is kept once.</>
                ) : (
                  "This job has none."
                )}
              </p>
            ) : (
              <Body label="JSON" json={job.payload} />
            )}
          </Panel>
        </div>
      </div>
    </>
  );
}
