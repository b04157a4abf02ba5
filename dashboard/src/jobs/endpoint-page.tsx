import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite, useTenants } from "../api/queries";
import type { Breaker, BreakerSettings, Endpoint } from "../api/types";
import { absolute, count, duration, figure, percent, plural, setting, waitWords } from "../lib/format";
import { useNow } from "../lib/now";
import { Bindings } from "../intake/bindings";
import { Ago, Button, ButtonLink, Command, Empty, Facts, Id, notFound, Notice, PageHead, Panel, ProblemCard, Since, Skeleton, TitleSkeleton } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Confirm } from "../ui/dialog";
import { EndpointBadge } from "../ui/status";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";
import { EndpointForm } from "./endpoint-form";
import { EndpointHeaders } from "./endpoint-headers";
import { EndpointQueue } from "./endpoint-queue";
import { EndpointSecrets } from "./endpoint-secrets";
import { ParkedLines } from "./lines";
import { retryWords } from "./retry";

const back = { href: "/endpoints", label: "Endpoints" };

export function EndpointPage({ id }: { id: string }) {
  const { data: endpoint, error, refetch } = useQuery(queries.endpoint(id));
  if (endpoint) return <Loaded endpoint={endpoint} />;
  return (
    <>
      <PageHead title={error ? "Endpoint" : <TitleSkeleton width={160} />} back={back} documentTitle="Endpoint" sub={error ? undefined : <Skeleton width={260} />} />
      <Panel label="Endpoint">
        {error ? (
          notFound(error) ? (
            <Empty icon="question" title="There is no such endpoint" actions={<ButtonLink href="/endpoints">To the endpoints</ButtonLink>} />
          ) : (
            <ProblemCard error={error} onRetry={() => void refetch()} what="The endpoint could not be read" />
          )
        ) : (
          <div style={{ height: 480 }}><Skeleton width="50%" /></div>
        )}
      </Panel>
    </>
  );
}

function Loaded({ endpoint }: { endpoint: Endpoint }) {
  const queryClient = useQueryClient();
  const [, navigate] = useLocation();
  const say = useToast();
  const canWrite = useCanWrite("admin");
  const tenants = useTenants();
  const [doing, setDoing] = useState<"edit" | "disable" | "delete" | null>(null);
  const stop = () => setDoing(null);
  const { stats } = endpoint;
  const setEnabled = async (enabled: boolean) => {
    const changed = await unwrap(client.PATCH("/v1/endpoints/{id}", { params: { path: { id: endpoint.id } }, body: { enabled } }));
    queryClient.setQueryData(queries.endpoint(endpoint.id).queryKey, changed);
    void queryClient.invalidateQueries({ queryKey: ["endpoints"] });
    say(enabled ? `${endpoint.name} is pushed to again` : `Nothing more is pushed to ${endpoint.name}`);
  };
  return (
    <>
      <PageHead
        back={back}
        documentTitle={endpoint.name}
        title={<span className={ui.actions}>{endpoint.name} <EndpointBadge breaker={endpoint.breaker} enabled={endpoint.enabled} /></span>}
        sub={<><code>{endpoint.url}</code>{tenants.many && <>, for {tenants.nameOf(endpoint.tenant_id)}</>}</>}
        actions={
          <>
            <ButtonLink href={`/dead-letters?endpoint=${encodeURIComponent(endpoint.name)}`} icon="dead">
              {stats.dead > 0 ? plural(stats.dead, "dead letter") : "Dead letters"}
            </ButtonLink>
            {canWrite && (
              <>
                <Button icon="settings" onClick={() => setDoing("edit")}>Change…</Button>
                {endpoint.enabled ? (
                  <Button icon="pause" onClick={() => setDoing("disable")}>Disable…</Button>
                ) : (
                  <Button icon="play" variant="primary" onClick={() => void setEnabled(true)}>Enable</Button>
                )}
              </>
            )}
          </>
        }
      />
      <div className={detail.stack}>
        <Panel label="Numbers" padded={false}>
          <dl className={detail.figures}>
            <div><dt>Success, 24 h</dt><dd>{percent(stats.success_rate)}</dd></div>
            <div><dt>Waiting</dt><dd title={count(stats.waiting)}>{figure(stats.waiting)}</dd></div>
            <div><dt>In flight</dt><dd>{stats.in_flight} of {endpoint.max_in_flight}</dd></div>
            <div><dt>Done, 24 h</dt><dd title={count(stats.succeeded)}>{figure(stats.succeeded)}</dd></div>
            <div><dt>Failed tries, 24 h</dt><dd title={count(stats.failed)}>{figure(stats.failed)}</dd></div>
            {stats.p50_ms != null && <div><dt>p50</dt><dd>{duration(stats.p50_ms)}</dd></div>}
            {stats.p99_ms != null && <div><dt>p99</dt><dd>{duration(stats.p99_ms)}</dd></div>}
          </dl>
        </Panel>
        <div className={detail.columns}>
          <div className={detail.stack}>
            <Panel title="Breaker">
              <BreakerState breaker={endpoint.breaker} waiting={stats.waiting} />
            </Panel>
            <EndpointQueue endpoint={endpoint} />
            <Panel title="Settings">
              <Facts
                items={[
                  ["Id", <Id key="id" value={endpoint.id} full />],
                  ["Signed with", endpoint.signing === "original" ? "the provider's original signature" : "Standard Webhooks"],
                  ["Timeout", `${setting(endpoint.timeout_ms)}, ${setting(endpoint.connect_timeout_ms)} to connect`],
                  ["At most in flight", count(endpoint.max_in_flight)],
                  ["Retries", retryWords(endpoint.retry)],
                  ["Breaker", breakerWords(endpoint.breaker_settings)],
                  ["Last success", <Ago key="success" at={stats.last_success_at} />],
                  ["Last failure", <Ago key="failure" at={stats.last_failure_at} />],
                  ["Created", absolute(endpoint.created_at)],
                  ["Changed", absolute(endpoint.updated_at)],
                ]}
              />
            </Panel>
          </div>
          <div className={detail.stack}>
            <Bindings endpoint={endpoint} />
            <ParkedLines endpoint={endpoint} />
            <EndpointSecrets endpoint={endpoint} canWrite={canWrite} />
            <EndpointHeaders endpoint={endpoint} canWrite={canWrite} />
            {canWrite && (
              <Panel title="Delete">
                <div className={detail.danger}>
                  <span>Deleting stops all pushes. Jobs that wait for it become dead letters.</span>
                  <Button variant="danger" icon="trash" onClick={() => setDoing("delete")}>Delete endpoint…</Button>
                </div>
              </Panel>
            )}
          </div>
        </div>
      </div>
      {doing === "edit" && <EndpointForm endpoint={endpoint} onClose={stop} />}
      <Confirm open={doing === "disable"} onClose={stop} title={`Disable ${endpoint.name}`} action="Disable endpoint" run={() => setEnabled(false)}>
        Its jobs wait from now on, and are pushed when it is enabled again.
      </Confirm>
      <Confirm
        open={doing === "delete"}
        onClose={stop}
        title={`Delete the endpoint ${endpoint.name}`}
        action="Delete endpoint"
        typed={endpoint.name}
        run={async () => {
          await unwrap(client.DELETE("/v1/endpoints/{id}", { params: { path: { id: endpoint.id } } }));
          void queryClient.invalidateQueries({ queryKey: ["endpoints"] });
          say(`${endpoint.name} is deleted`);
          navigate("/endpoints");
        }}
      >
        This cannot be undone. Bindings that lead to it have to be deleted first.
      </Confirm>
    </>
  );
}

function BreakerState({ breaker, waiting }: { breaker: Breaker; waiting: number }) {
  if (breaker.state === "closed") {
    return (
      <Notice tone="ok" icon="check">
        Closed: pushes go through.{breaker.failures > 0 && ` ${plural(breaker.failures, "failure")} in a row so far.`}
      </Notice>
    );
  }
  return (
    <div className={detail.stack}>
      <Notice tone={breaker.state === "open" ? "bad" : "warn"} icon={breaker.state === "open" ? "broken" : "half"}>
        {breaker.state === "open" ? (
          <>
            Open{breaker.opened_at && <> for <Since at={breaker.opened_at} /></>} after {plural(breaker.failures, "failure")}; {waitWords(waiting)}{waiting > 0 && ", none is lost"}.
            {breaker.probe_at && <> <NextProbe at={breaker.probe_at} /></>}
          </>
        ) : (
          "Half open: a few pushes go through to see whether it is back."
        )}
      </Notice>
      {breaker.last_error && <Command text={breaker.last_error} label="Copy last error" wrap />}
    </div>
  );
}

/** When it is tried again. Once the time has come, it takes a job to try it with. */
function NextProbe({ at }: { at: string }) {
  const due = Date.parse(at) <= useNow();
  return due ? <>The next job will show whether it is back.</> : <>The next probe is <Ago at={at} />.</>;
}

function breakerWords({ failures_to_open, pause_ms, pause_max_ms }: BreakerSettings): string {
  const opens = failures_to_open === undefined ? "" : `opens after ${plural(failures_to_open, "failure")}, `;
  return `${opens}for ${setting(pause_ms ?? 0)} to ${setting(pause_max_ms ?? 0)}`;
}
