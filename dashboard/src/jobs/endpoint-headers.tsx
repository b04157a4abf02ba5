import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { queries } from "../api/queries";
import type { Endpoint } from "../api/types";
import { Button, Empty, Panel, ProblemCard } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Confirm, Dialog } from "../ui/dialog";
import { Field, formClass, Input, useSubmit } from "../ui/form";
import { Icon } from "../ui/icon";
import { useToast } from "../ui/toast";

/** Sets a header, or takes one away: the others stay as they are. */
function useHeaderChange(endpoint: Endpoint) {
  const queryClient = useQueryClient();
  return async (name: string, value: string | null) => {
    const changed = await unwrap(client.PATCH("/v1/endpoints/{id}", { params: { path: { id: endpoint.id } }, body: { headers: { [name]: value } } }));
    queryClient.setQueryData(queries.endpoint(endpoint.id).queryKey, changed);
    void queryClient.invalidateQueries({ queryKey: ["endpoints"] });
  };
}

/** What is added to each push: names alone, since what they say is kept like a secret. */
export function EndpointHeaders({ endpoint, canWrite }: { endpoint: Endpoint; canWrite: boolean }) {
  const say = useToast();
  const change = useHeaderChange(endpoint);
  // Which one is being set: an empty name is a new one.
  const [setting, setSetting] = useState<string | null>(null);
  const [removing, setRemoving] = useState<string | null>(null);
  return (
    <Panel title="Headers of your own" padded={false} actions={canWrite && <Button small icon="plus" onClick={() => setSetting("")}>Set header</Button>}>
      {endpoint.header_names.length === 0 ? (
        <Empty icon="request" title="No headers of your own">A push has Mainstay’s headers alone. Set one where your gateway wants a token, say.</Empty>
      ) : (
        <ul className={detail.secrets} aria-label="Headers of your own">
          {endpoint.header_names.map((name) => (
            <li key={name}>
              <Icon name="request" />
              <span>
                <code>{name}</code>
                <small>its value is not shown</small>
              </span>
              {canWrite && (
                <>
                  <Button small variant="quiet" aria-label={`Replace the value of ${name}`} onClick={() => setSetting(name)}>Replace…</Button>
                  <Button small variant="quiet" icon="trash" title="Remove" aria-label={`Remove the header ${name}`} onClick={() => setRemoving(name)} />
                </>
              )}
            </li>
          ))}
        </ul>
      )}
      {setting !== null && <SetHeader endpoint={endpoint} name={setting} onClose={() => setSetting(null)} />}
      <Confirm
        open={removing !== null}
        onClose={() => setRemoving(null)}
        title={`Remove the header ${removing ?? ""}`}
        action="Remove header"
        run={async () => {
          if (removing === null) return;
          await change(removing, null);
          say(`${removing} is sent no more`);
        }}
      >
        The next push goes without it. Its value is forgotten.
      </Confirm>
    </Panel>
  );
}

function SetHeader({ endpoint, name: known, onClose }: { endpoint: Endpoint; name: string; onClose: () => void }) {
  const say = useToast();
  const change = useHeaderChange(endpoint);
  const [name, setName] = useState(known);
  const [value, setValue] = useState("");
  const form = useSubmit(async () => {
    await change(name.trim(), value);
    say(`${name.trim()} is sent with each push from now on`);
    onClose();
  });
  // The server points at a header by its name.
  const wrong = form.errorAt(name.trim());
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title={known === "" ? "Set a header" : `Another value for ${known}`}
      text={known === "" ? "It is added to each push; its value is kept like a secret, and shown nowhere." : "The value that it has now is not shown, and is forgotten."}
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy || name.trim() === "" || value === ""}>{form.busy ? "Saving…" : "Set header"}</Button>
        </>
      }
    >
      <div className={formClass}>
        {known === "" && (
          <Field label="Header" error={wrong}>
            <Input value={name} onChange={setName} autoComplete="off" autoCapitalize="none" placeholder="Authorization" />
          </Field>
        )}
        <Field label="Value" error={known === "" ? null : wrong}>
          <Input value={value} onChange={setValue} autoComplete="off" autoCapitalize="none" />
        </Field>
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}
