import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import type { Source } from "../api/types";
import { Ago, Button, Empty, Panel, ProblemCard } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Confirm, Dialog, SecretDialog } from "../ui/dialog";
import { Field, Input, useSubmit } from "../ui/form";
import { Icon } from "../ui/icon";
import { useToast } from "../ui/toast";
import { schemes } from "./schemes";

/** What a source verifies with: seen by their ends only, added, and taken away. */
export function Secrets({ source, canWrite }: { source: Source; canWrite: boolean }) {
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
