import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { queries } from "../api/queries";
import type { Source, SourceSettings } from "../api/types";
import { Reader } from "../lib/typed";
import { Button, ProblemCard } from "../ui/basics";
import { Dialog } from "../ui/dialog";
import { Field, formClass, Input, useSubmit } from "../ui/form";
import { useToast } from "../ui/toast";
import { SchemeFields, SourceFields } from "./source-fields";
import { type SettingsForm, settingsForm, sourceSettings } from "./source-settings";

/** Everything that can be said of a source beside its secrets. */
export function SourceSettingsForm({ source, onClose }: { source: Source; onClose: () => void }) {
  const queryClient = useQueryClient();
  const say = useToast();
  // What it was when the form was opened: the page behind it goes on changing.
  const [was] = useState(source);
  const [name, setName] = useState(was.name);
  const [verifyToken, setVerifyToken] = useState("");
  const [form, setForm] = useState(() => settingsForm(was.settings));
  const change = (patch: Partial<SettingsForm>) => setForm((before) => ({ ...before, ...patch }));
  const submit = useSubmit(async () => {
    const read = new Reader();
    const settings = sourceSettings(read, was.scheme, form, was.settings) as SourceSettings;
    read.done();
    const body = { name: name.trim() === was.name ? undefined : name.trim(), verify_token: verifyToken.trim() || undefined, settings };
    const changed = await unwrap(client.PATCH("/v1/sources/{id}", { params: { path: { id: was.id } }, body }));
    queryClient.setQueryData(queries.source(was.id).queryKey, changed);
    void queryClient.invalidateQueries({ queryKey: ["sources"] });
    say(`${changed.name} is changed, for requests from now on`);
    onClose();
  });
  const renamed = name.trim() !== was.name;
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!submit.busy}
      title={`Settings of ${was.name}`}
      onSubmit={submit.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={submit.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={submit.busy || name.trim() === ""}>{submit.busy ? "Saving…" : "Save settings"}</Button>
        </>
      }
    >
      <div className={formClass}>
        <Field
          label="Name"
          hint={renamed ? <>The address becomes <code>{location.origin}/in/{name.trim()}</code>: change it at the provider too.</> : "The end of the address"}
          error={submit.errorAt("name")}
        >
          <Input value={name} onChange={setName} autoComplete="off" autoCapitalize="none" />
        </Field>
        {was.scheme === "meta" && (
          <Field label="Verify token" hint="The one that there is is not shown. Empty: it stays." error={submit.errorAt("verify_token")}>
            <Input value={verifyToken} onChange={setVerifyToken} autoComplete="off" autoCapitalize="none" />
          </Field>
        )}
        <SchemeFields scheme={was.scheme} form={form} onChange={change} errorAt={submit.errorAt} />
        <SourceFields scheme={was.scheme} form={form} onChange={change} errorAt={submit.errorAt} />
        {submit.error !== null && <ProblemCard error={submit.error} />}
      </div>
    </Dialog>
  );
}
