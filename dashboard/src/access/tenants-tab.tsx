import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite } from "../api/queries";
import type { Tenant } from "../api/types";
import { Ago, Button, Empty, Id, Panel, ProblemCard } from "../ui/basics";
import { Confirm, Dialog } from "../ui/dialog";
import { Field, formClass, Input, useSubmit } from "../ui/form";
import { type Column, Table } from "../ui/table";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";

export const slugOf = (name: string): string =>
  name
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");

export function TenantsTab() {
  const queryClient = useQueryClient();
  const tenants = useQuery(queries.tenants());
  const canWrite = useCanWrite("owner");
  const say = useToast();
  const [creating, setCreating] = useState(false);
  const [removing, setRemoving] = useState<Tenant | null>(null);
  const [erasing, setErasing] = useState<Tenant | null>(null);
  // Only what is sealed can be erased, by destroying its keys.
  const vault = useQuery({ ...queries.vault(), enabled: canWrite });
  const canErase = canWrite && vault.data?.on === true;
  const reload = () => queryClient.invalidateQueries({ queryKey: ["tenants"] });
  const columns: Column<Tenant>[] = [
    { key: "name", label: "Name", card: "title", cell: (tenant) => <strong>{tenant.name}</strong> },
    { key: "slug", label: "Slug", width: "22%", cell: (tenant) => <code>{tenant.slug}</code> },
    { key: "id", label: "Id", width: "180px", cell: (tenant) => <Id value={tenant.id} /> },
    { key: "created", label: "Created", width: "120px", end: true, cell: (tenant) => <Ago at={tenant.created_at} /> },
    ...(canWrite
      ? [
          {
            key: "actions",
            label: "Actions",
            width: "104px",
            end: true,
            cardLabel: false,
            cell: (tenant: Tenant) => (
              <span className={ui.rowActions}>
                {canErase && <Button small variant="quiet" icon="key" aria-label={`Erase the data of ${tenant.name}`} title="Erase its data" onClick={() => setErasing(tenant)} />}
                <Button small variant="quiet" icon="trash" aria-label={`Delete ${tenant.name}`} title="Delete" onClick={() => setRemoving(tenant)} />
              </span>
            ),
          },
        ]
      : []),
  ];
  return (
    <Panel title="Tenants" padded={false} actions={canWrite && <Button small icon="plus" onClick={() => setCreating(true)}>New tenant</Button>}>
      {tenants.data === undefined && tenants.error ? (
        <ProblemCard error={tenants.error} onRetry={() => void tenants.refetch()} what="Tenants could not be read" />
      ) : tenants.data?.items.length === 0 ? (
        <Empty icon="user" title="No tenants">Each customer of yours can be one; their data is kept apart.</Empty>
      ) : (
        <Table label="Tenants" columns={columns} rows={tenants.data?.items} idOf={(tenant) => tenant.id} skeleton={3} />
      )}
      {erasing && <EraseDialog tenant={erasing} onClose={() => setErasing(null)} />}
      {creating && <TenantForm onClose={() => setCreating(false)} onSaved={reload} />}
      {removing && (
        <Confirm
          open
          onClose={() => setRemoving(null)}
          title={`Delete ${removing.name}`}
          action="Delete tenant"
          typed={removing.slug}
          run={async () => {
            await unwrap(client.DELETE("/v1/tenants/{id}", { params: { path: { id: removing.id } } }));
            say(`${removing.name} is deleted`);
            await reload();
          }}
        >
          This cannot be undone. A tenant that still has sources or endpoints is not deleted.
        </Confirm>
      )}
    </Panel>
  );
}

/** Destroying the keys of a tenant: what it takes with it, and what it leaves, is said before. */
function EraseDialog({ tenant, onClose }: { tenant: Tenant; onClose: () => void }) {
  const queryClient = useQueryClient();
  const say = useToast();
  return (
    <Confirm
      open
      onClose={onClose}
      title={`Erase the data of ${tenant.name}`}
      action="Erase for ever"
      typed={tenant.slug}
      run={async () => {
        await unwrap(client.POST("/v1/tenants/{id}/erase", { params: { path: { id: tenant.id } }, body: { confirm: tenant.slug } }));
        say(`What was sealed for ${tenant.name} can be read by nobody any more`);
        // What pages that are gone have read of it leaves memory now; what is on this one is read again.
        queryClient.removeQueries({ type: "inactive" });
        await queryClient.invalidateQueries();
      }}
    >
      <p>Its keys are destroyed, and nobody can undo that. Nobody reads any more: payloads and headers of its events, what was sent and answered, and the secrets of its sources and endpoints. Deliveries of its events that are not done end as dead letters.</p>
      <p>What stays valid: that events came, when, and what became of them; a late redelivery is still a duplicate; counts, timelines and the audit log. What comes for it from now on is sealed with a new key.</p>
      <p>Backups from before hold the old keys, wrapped by the master key: let them run out, or change that key and destroy the old one.</p>
    </Confirm>
  );
}

function TenantForm({ onClose, onSaved }: { onClose: () => void; onSaved: () => Promise<unknown> }) {
  const say = useToast();
  const [name, setName] = useState("");
  const [slug, setSlug] = useState<string | null>(null);
  const form = useSubmit(async () => {
    await unwrap(client.POST("/v1/tenants", { body: { name: name.trim(), slug: (slug ?? slugOf(name)) || undefined } }));
    say(`${name.trim()} is there`);
    await onSaved();
    onClose();
  });
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title="New tenant"
      text="One customer of yours. Its data is seen by nobody else."
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy || name.trim() === ""}>{form.busy ? "Creating…" : "Create tenant"}</Button>
        </>
      }
    >
      <div className={formClass}>
        <Field label="Name" error={form.errorAt("name")}><Input value={name} onChange={setName} autoComplete="off" /></Field>
        <Field label="Slug" hint="For commands: lower case, unique." error={form.errorAt("slug")}>
          <Input value={slug ?? slugOf(name)} onChange={setSlug} autoComplete="off" autoCapitalize="none" />
        </Field>
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}
