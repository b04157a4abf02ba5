import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite, useSession } from "../api/queries";
import type { Role, User } from "../api/types";
import { Ago, Button, Empty, Panel, ProblemCard } from "../ui/basics";
import { Confirm, Dialog } from "../ui/dialog";
import { Field, formClass, Input, Select, useSubmit } from "../ui/form";
import { type Column, Table } from "../ui/table";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";

export const roleOptions: { value: Role; label: string }[] = [
  { value: "viewer", label: "Viewer: looks at everything in reach, payloads too" },
  { value: "operator", label: "Operator: also runs again, cancels, discards, replays" },
  { value: "admin", label: "Admin: also sets up sources, endpoints, bindings" },
  { value: "owner", label: "Owner: also users, keys and tenants" },
];

export function UsersTab() {
  const queryClient = useQueryClient();
  const users = useQuery(queries.users());
  const session = useSession();
  const canWrite = useCanWrite("owner");
  const say = useToast();
  const [editing, setEditing] = useState<User | "new" | null>(null);
  const [removing, setRemoving] = useState<User | null>(null);
  const reload = () => queryClient.invalidateQueries({ queryKey: ["users"] });
  const columns: Column<User>[] = [
    {
      key: "email",
      label: "E-mail",
      card: "title",
      cell: (user) => (
        <>
          <strong>{user.email}</strong>
          {user.id === session?.user?.id && <span className="muted"> (you)</span>}
        </>
      ),
    },
    { key: "role", label: "Role", width: "110px", card: "status", cell: (user) => user.role },
    { key: "seen", label: "Last seen", width: "120px", end: true, cell: (user) => <Ago at={user.last_seen_at} /> },
    { key: "created", label: "Created", width: "110px", end: true, cell: (user) => <Ago at={user.created_at} /> },
    ...(canWrite
      ? [
          {
            key: "actions",
            label: "Actions",
            width: "140px",
            end: true,
            cardLabel: false,
            cell: (user: User) => (
              <span className={ui.rowActions}>
                <Button small variant="quiet" onClick={() => setEditing(user)} aria-label={`Change ${user.email}`}>Change…</Button>
                <Button
                  small
                  variant="quiet"
                  icon="trash"
                  aria-label={`Delete ${user.email}`}
                  title={user.id === session?.user?.id ? "You cannot delete yourself" : "Delete"}
                  disabled={user.id === session?.user?.id}
                  onClick={() => setRemoving(user)}
                />
              </span>
            ),
          },
        ]
      : []),
  ];
  return (
    <Panel title="Users" padded={false} actions={canWrite && <Button small icon="plus" onClick={() => setEditing("new")}>New user</Button>}>
      {users.data === undefined && users.error ? (
        <ProblemCard error={users.error} onRetry={() => void users.refetch()} what="Users could not be read" />
      ) : users.data?.items.length === 0 ? (
        <Empty icon="user" title="No users">This session signed in with a key.</Empty>
      ) : (
        <Table label="Users" columns={columns} rows={users.data?.items} idOf={(user) => user.id} skeleton={3} />
      )}
      {editing !== null && <UserForm user={editing === "new" ? undefined : editing} onClose={() => setEditing(null)} onSaved={reload} />}
      {removing && (
        <Confirm
          open
          onClose={() => setRemoving(null)}
          title={`Delete ${removing.email}`}
          action="Delete user"
          run={async () => {
            await unwrap(client.DELETE("/v1/users/{id}", { params: { path: { id: removing.id } } }));
            say(`${removing.email} is deleted`);
            await reload();
          }}
        >
          The person is signed out everywhere. What they have done stays in the audit log.
        </Confirm>
      )}
    </Panel>
  );
}

function UserForm({ user, onClose, onSaved }: { user?: User; onClose: () => void; onSaved: () => Promise<unknown> }) {
  const say = useToast();
  const [email, setEmail] = useState(user?.email ?? "");
  const [role, setRole] = useState<Role>(user?.role ?? "viewer");
  const [password, setPassword] = useState("");
  const form = useSubmit(async () => {
    if (user) {
      await unwrap(
        client.PATCH("/v1/users/{id}", {
          params: { path: { id: user.id } },
          body: { role: role === user.role ? undefined : role, password: password || undefined },
        }),
      );
    } else {
      await unwrap(client.POST("/v1/users", { body: { email: email.trim(), password: password || undefined, role } }));
    }
    say(user ? `${user.email} is changed` : `${email.trim()} can sign in`);
    await onSaved();
    onClose();
  });
  const ready = user ? role !== user.role || password !== "" : email.trim() !== "" && password !== "";
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title={user ? `Change ${user.email}` : "New user"}
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy || !ready}>{form.busy ? "Saving…" : user ? "Save" : "Create user"}</Button>
        </>
      }
    >
      <div className={formClass}>
        {!user && (
          <Field label="E-mail" error={form.errorAt("email")}>
            <Input type="email" value={email} onChange={setEmail} autoComplete="off" />
          </Field>
        )}
        <Field label="Role" error={form.errorAt("role")}>
          <Select value={role} onChange={(value) => setRole(value as Role)} options={roleOptions} />
        </Field>
        <Field label={user ? "New password" : "Password"} hint={user ? "Left empty, it stays as it is." : undefined} error={form.errorAt("password")}>
          <Input type="password" value={password} onChange={setPassword} autoComplete="new-password" />
        </Field>
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}
