import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite, useTenants } from "../api/queries";
import type { Key, Role } from "../api/types";
import { Ago, Button, Command, Empty, Panel, ProblemCard } from "../ui/basics";
import { Confirm, Dialog, SecretDialog, shownOnce } from "../ui/dialog";
import { Field, formClass, Input, Select, useSubmit } from "../ui/form";
import { type Column, Table } from "../ui/table";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";
import { KeyLimits, limitsText } from "./key-limits";
import { roleOptions } from "./users-tab";

export function KeysTab() {
  const queryClient = useQueryClient();
  const keys = useQuery(queries.keys());
  const tenants = useTenants();
  const canWrite = useCanWrite("owner");
  const canLimit = useCanWrite("admin");
  const say = useToast();
  const [creating, setCreating] = useState(false);
  const [made, setMade] = useState<{ key: Key; secret: string } | null>(null);
  const [removing, setRemoving] = useState<Key | null>(null);
  const [limiting, setLimiting] = useState<Key | null>(null);
  const reload = () => queryClient.invalidateQueries({ queryKey: ["keys"] });
  const columns: Column<Key>[] = [
    { key: "name", label: "Name", card: "title", cell: (key) => <strong>{key.name}</strong> },
    { key: "role", label: "Role", width: "90px", card: "status", cell: (key) => key.role },
    { key: "tenant", label: "Reaches", width: "18%", cell: (key) => (key.tenant_id ? tenants.nameOf(key.tenant_id) : "all tenants") },
    { key: "limits", label: "Requests", width: "16%", cell: limitsText },
    { key: "used", label: "Last used", width: "116px", end: true, cell: (key) => <Ago at={key.last_used_at} /> },
    { key: "expires", label: "Expires", width: "110px", end: true, cell: (key) => <Ago at={key.expires_at} /> },
    { key: "created", label: "Created", width: "110px", end: true, cell: (key) => <Ago at={key.created_at} /> },
    ...(canLimit
      ? [
          {
            key: "actions",
            label: "Actions",
            width: "104px",
            end: true,
            cardLabel: false,
            cell: (key: Key) => (
              <span className={ui.rowActions}>
                <Button small variant="quiet" icon="settings" aria-label={`Requests of ${key.name}`} title="How many requests" onClick={() => setLimiting(key)} />
                {canWrite && <Button small variant="quiet" icon="trash" aria-label={`Delete ${key.name}`} title="Delete" onClick={() => setRemoving(key)} />}
              </span>
            ),
          },
        ]
      : []),
  ];
  return (
    <Panel title="API keys" padded={false} actions={canWrite && <Button small icon="plus" onClick={() => setCreating(true)}>New API key</Button>}>
      {keys.data === undefined && keys.error ? (
        <ProblemCard error={keys.error} onRetry={() => void keys.refetch()} what="API keys could not be read" />
      ) : keys.data?.items.length === 0 ? (
        <Empty icon="key" title="No API keys" command={`curl -H "Authorization: Bearer msk_…" ${location.origin}/v1/overview?window=1h`}>
          Make one for every program that uses the API, with no more reach than it needs.
        </Empty>
      ) : (
        <Table label="API keys" columns={columns} rows={keys.data?.items} idOf={(key) => key.id} skeleton={3} />
      )}
      {creating && (
        <KeyForm
          onClose={() => setCreating(false)}
          onMade={(answer) => {
            setCreating(false);
            setMade(answer);
            void reload();
          }}
        />
      )}
      {made && (
        <SecretDialog
          open
          onClose={() => setMade(null)}
          title={`API key ${made.key.name}`}
          text="Programs send it as a bearer token."
          secret={made.secret}
        >
          <Command text={`curl -H "Authorization: Bearer ${made.secret}" \\\n  "${location.origin}/v1/overview?window=1h"`} label="Copy command" wrap />
        </SecretDialog>
      )}
      {limiting && (
        <KeyLimits
          of={limiting}
          onClose={() => setLimiting(null)}
          onSaid={(said) => {
            setLimiting(null);
            say(said);
            void reload();
          }}
        />
      )}
      {removing && (
        <Confirm
          open
          onClose={() => setRemoving(null)}
          title={`Delete the API key ${removing.name}`}
          action="Delete API key"
          run={async () => {
            await unwrap(client.DELETE("/v1/keys/{id}", { params: { path: { id: removing.id } } }));
            say(`${removing.name} is deleted`);
            await reload();
          }}
        >
          Programs that use it are refused from the next request on. {removing.last_used_at ? <>It was last used <Ago at={removing.last_used_at} />.</> : "It has never been used."}
        </Confirm>
      )}
    </Panel>
  );
}

function KeyForm({ onClose, onMade }: { onClose: () => void; onMade: (answer: { key: Key; secret: string }) => void }) {
  const tenants = useTenants();
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [tenant, setTenant] = useState("");
  const form = useSubmit(async () => {
    const made = await unwrap(client.POST("/v1/keys", { body: { name: name.trim(), role, tenant_id: tenant || undefined } }));
    onMade({ key: made.key, secret: shownOnce(made.secret) });
  });
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title="New API key"
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy || name.trim() === ""}>{form.busy ? "Creating…" : "Create key"}</Button>
        </>
      }
    >
      <div className={formClass}>
        <Field label="Name" hint="What uses it, so that it can be taken away one day." error={form.errorAt("name")}>
          <Input value={name} onChange={setName} autoComplete="off" placeholder="shop backend" />
        </Field>
        <Field label="Role" error={form.errorAt("role")}>
          <Select value={role} onChange={(value) => setRole(value as Role)} options={roleOptions} />
        </Field>
        <Field label="Reach" error={form.errorAt("tenant_id")}>
          <Select value={tenant} onChange={setTenant} options={[{ value: "", label: "All tenants" }, ...tenants.list.map(({ id, name: label }) => ({ value: id, label: `Only ${label}` }))]} />
        </Field>
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}
