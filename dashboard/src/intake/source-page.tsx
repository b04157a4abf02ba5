import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite, useTenants } from "../api/queries";
import type { HmacRule, Source } from "../api/types";
import { commands } from "../lib/commands";
import { absolute, bytes, count, figure, span } from "../lib/format";
import { Ago, Button, ButtonLink, Command, Empty, Facts, Id, notFound, PageHead, Panel, ProblemCard, Skeleton, TitleSkeleton } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Confirm } from "../ui/dialog";
import { EnabledBadge } from "../ui/status";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";
import { Bindings } from "./bindings";
import { Drift } from "./drift";
import { Refused } from "./refused";
import { schemes } from "./schemes";
import { Expected, Rhythm } from "./rhythm";
import { Schemas } from "./schemas";
import { Secrets } from "./secrets";
import { SourceSettingsForm } from "./source-settings-form";
import { Waiting } from "./waiting";

const back = { href: "/sources", label: "Sources" };

export function SourcePage({ id }: { id: string }) {
  const { data: source, error, refetch } = useQuery(queries.source(id));
  if (source) return <Loaded source={source} />;
  return (
    <>
      <PageHead title={error ? "Source" : <TitleSkeleton width={160} />} back={back} documentTitle="Source" sub={error ? undefined : <Skeleton width={260} />} />
      <Panel label="Source">
        {error ? (
          notFound(error) ? (
            <Empty icon="question" title="There is no such source" actions={<ButtonLink href="/sources">To the sources</ButtonLink>} />
          ) : (
            <ProblemCard error={error} onRetry={() => void refetch()} what="The source could not be read" />
          )
        ) : (
          <div style={{ height: 480 }}><Skeleton width="50%" /></div>
        )}
      </Panel>
    </>
  );
}

function Loaded({ source }: { source: Source }) {
  const queryClient = useQueryClient();
  const [, navigate] = useLocation();
  const say = useToast();
  const canWrite = useCanWrite("admin");
  const canOperate = useCanWrite("operator");
  const tenants = useTenants();
  const [removing, setRemoving] = useState(false);
  const [disabling, setDisabling] = useState(false);
  const [changing, setChanging] = useState(false);
  const own = source.scheme === "mainstay";
  const { stats, settings } = source;
  const setEnabled = async (enabled: boolean) => {
    const changed = await unwrap(client.PATCH("/v1/sources/{id}", { params: { path: { id: source.id } }, body: { enabled } }));
    queryClient.setQueryData(queries.source(source.id).queryKey, changed);
    void queryClient.invalidateQueries({ queryKey: ["sources"] });
    say(enabled ? `${source.name} takes requests` : `${source.name} refuses requests`);
  };
  return (
    <>
      <PageHead
        back={back}
        documentTitle={source.name}
        title={<span className={ui.actions}>{source.name} <EnabledBadge enabled={source.enabled} /></span>}
        sub={<>{schemes[source.scheme]?.label ?? source.scheme}{tenants.many && <>, for {tenants.nameOf(source.tenant_id)}</>}</>}
        actions={
          <>
            <ButtonLink href={`/events?source=${encodeURIComponent(source.name)}`} icon="events">Its events</ButtonLink>
            {canWrite && !own && (source.enabled ? (
              <Button icon="pause" onClick={() => setDisabling(true)}>Disable…</Button>
            ) : (
              <Button icon="play" variant="primary" onClick={() => void setEnabled(true)}>Enable</Button>
            ))}
          </>
        }
      />
      <div className={detail.stack}>
        <Panel label="Numbers" padded={false}>
          <dl className={detail.figures}>
            <div><dt>Received</dt><dd title={count(stats.received)}>{figure(stats.received)}</dd></div>
            <div><dt>Events</dt><dd title={count(stats.events)}>{figure(stats.events)}</dd></div>
            <div><dt>Duplicates</dt><dd title={count(stats.duplicates)}>{figure(stats.duplicates)}</dd></div>
            <div><dt>Refused</dt><dd title={count(stats.refused)}>{figure(stats.refused)}</dd></div>
            {stats.turned_away > 0 && <div><dt>Turned away</dt><dd title={count(stats.turned_away)}>{figure(stats.turned_away)}</dd></div>}
            {stats.rate_exceeded > 0 && <div><dt>Over its rate</dt><dd title={count(stats.rate_exceeded)}>{figure(stats.rate_exceeded)}</dd></div>}
            {stats.conflicts > 0 && <div><dt>Conflicts</dt><dd title={count(stats.conflicts)}>{figure(stats.conflicts)}</dd></div>}
            <div><dt>Last event</dt><dd><Ago at={stats.last_event_at} /></dd></div>
          </dl>
        </Panel>
        <div className={detail.columns}>
          <div className={detail.stack}>
            {!own && (
              <Panel title="Address">
                <div className={detail.stack}>
                  <Command text={location.origin + source.url} label="Copy address" wrap />
                  <p className="muted">Give it to the provider. Send a request of your own to see it refused, below:</p>
                  <Command text={commands.send(source.url)} />
                </div>
              </Panel>
            )}
            {!own && <Secrets source={source} canWrite={canWrite} />}
            <Panel title="On your own machine">
              <div className={detail.stack}>
                <p className="muted">Its events as they come, to the handler that you are writing; with an API key in MAINSTAY_API_KEY:</p>
                <Command text={commands.listen(source.name)} />
              </div>
            </Panel>
            <Panel title="Settings" actions={canWrite && !own && <Button small icon="settings" onClick={() => setChanging(true)}>Change…</Button>}>
              <Facts
                items={[
                  ["Id", <Id key="id" value={source.id} full />],
                  ["Clock tolerance", settings.tolerance_secs ? span(settings.tolerance_secs) : "as the scheme says"],
                  ["Largest body", settings.body_limit_bytes ? bytes(settings.body_limit_bytes) : "as the server says"],
                  ...(settings.hmac
                    ? ([
                        ["Signature", <code key="header">{settings.hmac.header}: {settings.hmac.prefix ?? ""}{"<"}{settings.hmac.encoding ?? "hex"}{">"}</code>],
                        ["Signed", <code key="signed">HMAC-{(settings.hmac.algorithm ?? "sha256").toUpperCase()} of {settings.hmac.signed ?? "{body}"}</code>],
                        ["Event id", <code key="id">{placeOf(settings.hmac.id)}</code>],
                        ["Event type", <code key="type">{placeOf(settings.hmac.type)}</code>],
                      ] as [string, React.ReactNode][])
                    : []),
                  ["Tenant", settings.tenant ? <code key="tenant">{settings.tenant.find.map((place) => Object.values(place).join()).join(", ")}</code> : "its own"],
                  ["Rate", settings.rate ? `${count(settings.rate.per_second)} in a second` : "any"],
                  ["Answer", settings.answer ? `HTTP ${settings.answer.status}` : "as the scheme says"],
                  ["Created", absolute(source.created_at)],
                  ["Changed", absolute(source.updated_at)],
                ]}
              />
            </Panel>
            {canWrite && !own && (
              <Panel title="Delete">
                <div className={detail.danger}>
                  <span>Requests to its address are then answered with 404. Events that came through it stay.</span>
                  <Button variant="danger" icon="trash" onClick={() => setRemoving(true)}>Delete source…</Button>
                </div>
              </Panel>
            )}
          </div>
          <div className={detail.stack}>
            {settings.tenant && <Waiting source={source} canWrite={canWrite} />}
            {!own && <Schemas source={source} canWrite={canWrite} />}
            {!own && <Rhythm source={source} />}
            {!own && <Expected source={source} canWrite={canOperate} />}
            {!own && <Drift source={source} canWrite={canOperate} />}
            <Bindings source={source} />
            <Refused source={source} canWrite={canOperate && !own} />
          </div>
        </div>
      </div>
      {changing && <SourceSettingsForm source={source} onClose={() => setChanging(false)} />}
      <Confirm open={disabling} onClose={() => setDisabling(false)} title={`Disable ${source.name}`} action="Disable source" run={() => setEnabled(false)}>
        Requests are refused from now on. Most providers try again for some days; what they give up on until then is lost here.
      </Confirm>
      <Confirm
        open={removing}
        onClose={() => setRemoving(false)}
        title={`Delete the source ${source.name}`}
        action="Delete source"
        typed={source.name}
        run={async () => {
          await unwrap(client.DELETE("/v1/sources/{id}", { params: { path: { id: source.id } } }));
          void queryClient.invalidateQueries({ queryKey: ["sources"] });
          say(`${source.name} is deleted`);
          navigate("/sources");
        }}
      >
        <p>Its secrets are forgotten, and the provider&apos;s next request is answered with 404. This cannot be undone. Bindings of the source have to be deleted first.</p>
      </Confirm>
    </>
  );
}

/** Where a rule says that an id or a type stands. */
function placeOf(place: HmacRule["id"] | HmacRule["type"]): string {
  if (place === "digest") return "the body’s digest";
  if (!place) return "–";
  return Object.values(place).join();
}
