import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { queries, useTenants } from "../api/queries";
import type { Source, WaitingValue } from "../api/types";
import { plural } from "../lib/format";
import { Ago, Button, Empty, Panel, ProblemCard, Waits } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Dialog } from "../ui/dialog";
import { Field, Select, useSubmit } from "../ui/form";
import { Icon } from "../ui/icon";
import { useToast } from "../ui/toast";

const named = (value: string) => (value === "" ? "no value" : value);

/** Events that are kept until it is known whose they are, by what they wait for. */
export function Waiting({ source, canWrite }: { source: Source; canWrite: boolean }) {
  const { data, error, refetch } = useQuery(queries.waiting(source.id));
  const [linking, setLinking] = useState<WaitingValue | null>(null);
  return (
    <Panel title="Waiting for a tenant" padded={false}>
      {error ? (
        <ProblemCard error={error} onRetry={() => void refetch()} what="What waits could not be read" />
      ) : data === undefined ? (
        <Waits height={153} />
      ) : data.items.length === 0 ? (
        <Empty icon="check" title="Nothing waits">An event whose tenant is not known is kept here until its value is linked.</Empty>
      ) : (
        <ul className={detail.secrets}>
          {data.items.map((waiting) => (
            <li key={waiting.value}>
              <Icon name="events" />
              <span>
                <code>{named(waiting.value)}</code>
                <small>{plural(waiting.events, "event")}, the oldest <Ago at={waiting.oldest_received_at} /></small>
              </span>
              {canWrite && <Button small aria-label={`Link ${named(waiting.value)}`} onClick={() => setLinking(waiting)}>Link…</Button>}
            </li>
          ))}
          {data.next_cursor && <li><span className="muted">There are more: mainstay event waiting --source {source.name} --by-value</span></li>}
        </ul>
      )}
      {linking && <LinkDialog source={source} waiting={linking} onClose={() => setLinking(null)} />}
    </Panel>
  );
}

function LinkDialog({ source, waiting, onClose }: { source: Source; waiting: WaitingValue; onClose: () => void }) {
  const queryClient = useQueryClient();
  const say = useToast();
  const tenants = useTenants();
  const [tenant, setTenant] = useState("");
  const form = useSubmit(async () => {
    await unwrap(
      client.POST("/v1/sources/{id}/links", { params: { path: { id: source.id } }, body: { links: [{ value: waiting.value, tenant }] } }),
    );
    say(`${named(waiting.value)} is linked; what waited is given to ${tenants.nameOf(tenant)}`);
    void queryClient.invalidateQueries({ queryKey: queries.waiting(source.id).queryKey });
    onClose();
  });
  const options = [{ value: "", label: "Choose…" }, ...tenants.list.map(({ id, name }) => ({ value: id, label: name }))];
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title={`Link ${named(waiting.value)}`}
      text={`${plural(waiting.events, "event")} will be given to the tenant and their jobs will run. What comes from now on is the tenant's at once.`}
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy || tenant === ""}>{form.busy ? "Linking…" : "Link"}</Button>
        </>
      }
    >
      <Field label="Tenant" error={form.errorAt("links/0/tenant")}>
        <Select value={tenant} onChange={setTenant} options={options} />
      </Field>
      {form.error !== null && <ProblemCard error={form.error} />}
    </Dialog>
  );
}
