import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { client, unwrap } from "../api/client";
import { useLiveList } from "../api/live-list";
import { LIST_LIMIT, queries, useCanWrite, useTenants } from "../api/queries";
import type { HmacRule, Receipt, Source } from "../api/types";
import { commands } from "../lib/commands";
import { absolute, bytes, compact, count, span, words } from "../lib/format";
import { Ago, Button, ButtonLink, Command, Empty, Facts, Id, notFound, PageHead, Panel, ProblemCard, Skeleton, TitleSkeleton } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Confirm, Dialog, SecretDialog } from "../ui/dialog";
import { Fresh, SecondBar } from "../ui/filters";
import { Field, Input, useSubmit } from "../ui/form";
import { Icon } from "../ui/icon";
import { EnabledBadge } from "../ui/status";
import { type Column, ListFoot, Table } from "../ui/table";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";
import { Bindings } from "./bindings";
import { schemes } from "./schemes";

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
  const canWrite = useCanWrite();
  const tenants = useTenants();
  const [removing, setRemoving] = useState(false);
  const [disabling, setDisabling] = useState(false);
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
            <div><dt>Received</dt><dd title={count(stats.received)}>{compact(stats.received)}</dd></div>
            <div><dt>Events</dt><dd title={count(stats.events)}>{compact(stats.events)}</dd></div>
            <div><dt>Duplicates</dt><dd title={count(stats.duplicates)}>{compact(stats.duplicates)}</dd></div>
            <div><dt>Refused</dt><dd title={count(stats.refused)}>{compact(stats.refused)}</dd></div>
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
            <Panel title="Settings">
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
            <Bindings source={source} />
            <Refused source={source} />
          </div>
        </div>
      </div>
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

function Secrets({ source, canWrite }: { source: Source; canWrite: boolean }) {
  const queryClient = useQueryClient();
  const say = useToast();
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<Source["secrets"][number] | null>(null);
  const reload = () => queryClient.invalidateQueries({ queryKey: ["source", source.id] });
  return (
    <Panel title="Secrets" padded={false} actions={canWrite && <Button small icon="plus" onClick={() => setAdding(true)}>Add secret</Button>}>
      {source.secrets.length === 0 ? (
        <Empty icon="key" title="No secret">Without one nothing can be verified, and every request is refused.</Empty>
      ) : (
        <ul className={detail.secrets}>
          {source.secrets.map((secret) => (
            <li key={secret.id}>
              <Icon name="key" />
              <span>
                <code>{secret.hint}</code>
                <small>
                  added <Ago at={secret.created_at} />, {secret.last_used_at ? <>last matched <Ago at={secret.last_used_at} /></> : "has not matched yet"}
                </small>
              </span>
              {canWrite && (
                <Button small variant="quiet" icon="trash" title="Remove" aria-label={`Remove the secret ${secret.hint}`} onClick={() => setRemoving(secret)} />
              )}
            </li>
          ))}
        </ul>
      )}
      {adding && <AddSecret source={source} onClose={() => setAdding(false)} onAdded={reload} />}
      {removing && (
        <Confirm
          open
          onClose={() => setRemoving(null)}
          title={`Remove the secret ${removing.hint}`}
          action="Remove secret"
          run={async () => {
            await unwrap(
              client.DELETE("/v1/sources/{id}/secrets/{secret_id}", { params: { path: { id: source.id, secret_id: removing.id } } }),
            );
            say("The secret is removed");
            await reload();
          }}
        >
          {source.secrets.length === 1 ? (
            "It is the only one: every request will be refused until another is added."
          ) : removing.last_used_at ? (
            <>Requests signed with it are refused from now on. It last matched <Ago at={removing.last_used_at} />.</>
          ) : (
            "It has never matched a request."
          )}
        </Confirm>
      )}
    </Panel>
  );
}

/** Where a rule says that an id or a type stands. */
function placeOf(place: HmacRule["id"] | HmacRule["type"]): string {
  if (place === "digest") return "the body’s digest";
  if (!place) return "–";
  return Object.values(place).join();
}

function AddSecret({ source, onClose, onAdded }: { source: Source; onClose: () => void; onAdded: () => Promise<unknown> }) {
  const say = useToast();
  const [secret, setSecret] = useState("");
  const [made, setMade] = useState<string | null>(null);
  const scheme = schemes[source.scheme];
  const form = useSubmit(async () => {
    const answer = await unwrap(
      client.POST("/v1/sources/{id}/secrets", { params: { path: { id: source.id } }, body: { secret: secret.trim() || undefined } }),
    );
    await onAdded();
    if (answer.secret && secret.trim() === "") setMade(answer.secret);
    else {
      say("The secret is added; the old ones match too until they are removed");
      onClose();
    }
  });
  if (made) {
    return <SecretDialog open onClose={onClose} title="A new secret" text="Give it to the provider. The old ones match too, until you remove them." secret={made} />;
  }
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title="Add a secret"
      text="Any of a source's secrets may match: add the new one, change it at the provider, then remove the old one."
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy || (!scheme.generates && secret.trim() === "")}>
            {form.busy ? "Adding…" : secret.trim() === "" && scheme.generates ? "Make one" : "Add secret"}
          </Button>
        </>
      }
    >
      <Field label="Signing secret" hint={scheme.secret} error={form.errorAt("secret")}>
        <Input value={secret} onChange={setSecret} autoComplete="off" />
      </Field>
      {form.error !== null && <ProblemCard error={form.error} />}
    </Dialog>
  );
}

/** Requests that were not let in: kept as evidence, and the first place to look when a provider says that it sent something. */
function Refused({ source }: { source: Source }) {
  const list = useLiveList<Receipt>({
    area: "receipts",
    filters: { source: source.name },
    idOf: (receipt) => receipt.id,
    fetchPage: (cursor) =>
      unwrap(client.GET("/v1/receipts", { params: { query: { source: source.name, cursor, limit: LIST_LIMIT } } })),
  });
  const columns: Column<Receipt>[] = [
    { key: "verdict", label: "Verdict", card: "title", width: "20%", cell: (receipt) => <span title={receipt.verdict}>{words(receipt.verdict)}</span> },
    { key: "reason", label: "Why", card: "wide", cardLabel: false, cell: (receipt) => receipt.reason && <span className="secondary" title={receipt.reason}>{receipt.reason}</span> },
    { key: "remote", label: "From", width: "17%", cell: (receipt) => <code title={receipt.remote}>{receipt.remote}</code> },
    { key: "bytes", label: "Size", width: "80px", end: true, cell: (receipt) => bytes(receipt.bytes) },
    { key: "at", label: "Received", width: "96px", end: true, card: "status", cell: (receipt) => <Ago at={receipt.received_at} /> },
  ];
  return (
    <Panel title="Refused requests" padded={false}>
      {list.error ? (
        <ProblemCard error={list.error} onRetry={list.reload} what="Refused requests could not be read" />
      ) : list.rows?.length === 0 ? (
        <Empty icon="shield" title="Nothing was refused">A request that cannot be verified is kept here, with the reason.</Empty>
      ) : (
        <>
          <SecondBar>
            <span className="secondary">Nothing in them was processed</span>
            <Fresh fresh={list.fresh} atLeast={list.freshIsAtLeast} noun="refused" onShow={list.showFresh} />
          </SecondBar>
          <Table label="Refused requests" columns={columns} rows={list.rows} idOf={(receipt) => receipt.id} skeleton={4} goneIds={list.gone} />
          {list.rows && <ListFoot shown={list.rows.length} noun="refused requests" more={list.more} />}
        </>
      )}
    </Panel>
  );
}
