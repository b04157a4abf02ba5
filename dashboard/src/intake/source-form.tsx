import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { client, unwrap } from "../api/client";
import { useTenants } from "../api/queries";
import type { Scheme, Source } from "../api/types";
import { Reader } from "../lib/typed";
import { Button, Command, ProblemCard } from "../ui/basics";
import { Dialog, SecretDialog } from "../ui/dialog";
import { Field, formClass, Input, Select, useSubmit } from "../ui/form";
import { creatable, schemes } from "./schemes";
import { SchemeFields } from "./source-fields";
import { settingsForm, sourceSettings } from "./source-settings";

/** A door for a provider's webhooks, made anew. */
export function CreateSource({ onClose }: { onClose: () => void }) {
  const queryClient = useQueryClient();
  const tenants = useTenants();
  const [, navigate] = useLocation();
  const [scheme, setScheme] = useState<Scheme>("stripe");
  const [name, setName] = useState("");
  const [tenant, setTenant] = useState("");
  const [secret, setSecret] = useState("");
  const [verifyToken, setVerifyToken] = useState("");
  const [settings, setSettings] = useState(settingsForm);
  const [made, setMade] = useState<{ source: Source; secret: string | null } | null>(null);

  const form = useSubmit(async () => {
    const read = new Reader();
    const told = sourceSettings(read, scheme, settings);
    read.done();
    const answer = await unwrap(
      client.POST("/v1/sources", {
        body: {
          name: name.trim(),
          scheme,
          tenant_id: tenant || tenants.list[0]?.id,
          secret: scheme === "address" ? undefined : secret.trim() || undefined,
          verify_token: scheme === "meta" ? verifyToken.trim() || undefined : undefined,
          settings: told,
        },
      }),
    );
    void queryClient.invalidateQueries({ queryKey: ["sources"] });
    setMade({ source: answer.source, secret: answer.secret ?? null });
  });

  if (made) {
    const done = () => {
      onClose();
      navigate(`/sources/${made.source.id}`);
    };
    const address = <Command text={location.origin + made.source.url} label="Copy address" wrap />;
    return made.secret ? (
      <SecretDialog
        open
        onClose={done}
        title={`Source ${made.source.name} is there`}
        text="Give the provider this secret and the address below."
        secret={made.secret}
      >
        {address}
      </SecretDialog>
    ) : (
      <Dialog
        open
        onClose={done}
        title={`Source ${made.source.name} is there`}
        text="Give the provider this address. The first event shows up the moment it is acknowledged."
        foot={<Button variant="primary" onClick={done}>To the source</Button>}
      >
        {address}
      </Dialog>
    );
  }

  const words = schemes[scheme];
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title="New source"
      text="A door for one provider's webhooks."
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy || name.trim() === ""}>
            {form.busy ? "Creating…" : "Create source"}
          </Button>
        </>
      }
    >
      <div className={formClass}>
        <Field label="Provider" error={form.errorAt("scheme")}>
          <Select
            value={scheme}
            onChange={(value) => setScheme(value as Scheme)}
            options={creatable.map((value) => ({ value, label: schemes[value].label }))}
          />
        </Field>
        <Field label="Name" hint={<>The end of the address: <code>{location.origin}/in/{name.trim() || "…"}</code></>} error={form.errorAt("name")}>
          <Input value={name} onChange={setName} autoComplete="off" placeholder={scheme === "hmac" ? "orders" : scheme.replace("_webhooks", "")} autoCapitalize="none" />
        </Field>
        {tenants.many && (
          <Field label="Tenant" error={form.errorAt("tenant_id")}>
            <Select value={tenant || tenants.list[0]!.id} onChange={setTenant} options={tenants.list.map(({ id, name: label }) => ({ value: id, label }))} />
          </Field>
        )}
        {scheme !== "address" && (
          <Field label="Signing secret" hint={words.secret} error={form.errorAt("secret")}>
            <Input value={secret} onChange={setSecret} autoComplete="off" />
          </Field>
        )}
        {scheme === "meta" && (
          <Field label="Verify token" hint="Any text. Enter the same one on Meta's page when it asks for it." error={form.errorAt("verify_token")}>
            <Input value={verifyToken} onChange={setVerifyToken} autoComplete="off" />
          </Field>
        )}
        <SchemeFields scheme={scheme} form={settings} onChange={(patch) => setSettings((before) => ({ ...before, ...patch }))} errorAt={form.errorAt} />
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}
