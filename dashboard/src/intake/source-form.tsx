import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { client, unwrap } from "../api/client";
import { useTenants } from "../api/queries";
import type { HmacRule, Scheme, Source, SourceSettings } from "../api/types";
import { Button, Command, Notice, ProblemCard } from "../ui/basics";
import { Dialog, SecretDialog } from "../ui/dialog";
import { columnsClass, Field, formClass, Input, Select, useSubmit } from "../ui/form";
import { creatable, schemes } from "./schemes";

export const plainHmac = {
  header: "X-Signature",
  algorithm: "sha256" as NonNullable<HmacRule["algorithm"]>,
  encoding: "hex" as NonNullable<HmacRule["encoding"]>,
  prefix: "",
  signed: "{body}",
  timestamp_header: "",
  id_header: "",
  id_pointer: "/id",
  type_header: "",
  type_pointer: "/type",
  key_encoding: "utf8" as NonNullable<HmacRule["key_encoding"]>,
};

export type HmacForm = typeof plainHmac;

/** The rule that the form describes. Empty fields are not sent: absent is what they mean. */
export function hmacRule(form: HmacForm): HmacRule {
  return {
    header: form.header,
    algorithm: form.algorithm,
    encoding: form.encoding,
    prefix: form.prefix || undefined,
    signed: form.signed || undefined,
    timestamp_header: form.timestamp_header || undefined,
    id: where(form.id_header, form.id_pointer),
    type: where(form.type_header, form.type_pointer),
    key_encoding: form.key_encoding,
  };
}

export const plainSettings = {
  allow: "",
  url: "",
  bearer_header: "Authorization",
  event_id_header: "",
  event_id_pointer: "/id",
  event_type_header: "",
  event_type_pointer: "/type",
};

export type SettingsForm = typeof plainSettings;

/** What the form says about the source beside its secret; undefined when it says nothing. */
export function sourceSettings(scheme: Scheme, form: SettingsForm, hmac: HmacForm): Partial<SourceSettings> | undefined {
  const settings: Partial<SourceSettings> = {};
  const allow = form.allow.split(/[\s,]+/).filter(Boolean);
  if (allow.length > 0) settings.allow = allow;
  if (scheme === "hmac") settings.hmac = hmacRule(hmac);
  if (scheme === "twilio" && form.url.trim()) settings.url = form.url.trim();
  if (scheme === "bearer") settings.bearer = { header: form.bearer_header.trim() };
  if (scheme === "bearer" || scheme === "address") {
    settings.event = {
      id: where(form.event_id_header, form.event_id_pointer),
      type: where(form.event_type_header, form.event_type_pointer),
    };
  }
  return Object.keys(settings).length > 0 ? settings : undefined;
}

/** A header goes before the body. */
const where = (header: string, pointer: string) => (header ? { header } : pointer ? { pointer } : undefined);

export function CreateSource({ onClose }: { onClose: () => void }) {
  const queryClient = useQueryClient();
  const tenants = useTenants();
  const [, navigate] = useLocation();
  const [scheme, setScheme] = useState<Scheme>("stripe");
  const [name, setName] = useState("");
  const [tenant, setTenant] = useState("");
  const [secret, setSecret] = useState("");
  const [verifyToken, setVerifyToken] = useState("");
  const [hmac, setHmac] = useState(plainHmac);
  const [settings, setSettings] = useState(plainSettings);
  const [made, setMade] = useState<{ source: Source; secret: string | null } | null>(null);

  const form = useSubmit(async () => {
    const answer = await unwrap(
      client.POST("/v1/sources", {
        body: {
          name: name.trim(),
          scheme,
          tenant_id: tenant || tenants.list[0]?.id,
          secret: scheme === "address" ? undefined : secret.trim() || undefined,
          verify_token: scheme === "meta" ? verifyToken.trim() || undefined : undefined,
          settings: sourceSettings(scheme, settings, hmac),
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
  const set = (key: keyof HmacForm) => (value: string) => setHmac((before) => ({ ...before, [key]: value }));
  const tell = (key: keyof SettingsForm) => (value: string) => setSettings((before) => ({ ...before, [key]: value }));
  const unsigned = scheme === "bearer" || scheme === "address";
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
        <Field
          label={scheme === "address" ? "Addresses" : "Only from these addresses"}
          hint={scheme === "address" ? "Addresses and ranges, such as 192.0.2.0/24." : "Addresses and ranges, such as 192.0.2.0/24. Empty: from anywhere."}
          error={form.errorAt("allow")}
        >
          <Input value={settings.allow} onChange={tell("allow")} autoComplete="off" />
        </Field>
        {scheme === "twilio" && (
          <Field label="Address as Twilio has it" hint="Only where it is not the one above: Twilio signs it. Without what follows a question mark." error={form.errorAt("url")}>
            <Input value={settings.url} onChange={tell("url")} autoComplete="off" />
          </Field>
        )}
        {unsigned && (
          <>
            <div className={columnsClass}>
              {scheme === "bearer" && <Field label="Header with the token" error={form.errorAt("header")}><Input value={settings.bearer_header} onChange={tell("bearer_header")} /></Field>}
              <Field label="Id header"><Input value={settings.event_id_header} onChange={tell("event_id_header")} /></Field>
              <Field label="… or id in the body" hint="JSON pointer"><Input value={settings.event_id_pointer} onChange={tell("event_id_pointer")} /></Field>
              <Field label="Type header"><Input value={settings.event_type_header} onChange={tell("event_type_header")} /></Field>
              <Field label="… or type in the body" hint="JSON pointer"><Input value={settings.event_type_pointer} onChange={tell("event_type_pointer")} /></Field>
            </div>
            <Notice>Nothing is signed: this says who sends, and not that the body is as it was sent.</Notice>
          </>
        )}
        {scheme === "meta" && (
          <Field label="Verify token" hint="Any text. Enter the same one on Meta's page when it asks for it." error={form.errorAt("verify_token")}>
            <Input value={verifyToken} onChange={setVerifyToken} autoComplete="off" />
          </Field>
        )}
        {scheme === "hmac" && (
          <>
            <div className={columnsClass}>
              <Field label="Signature header" error={form.errorAt("header")}><Input value={hmac.header} onChange={set("header")} /></Field>
              <Field label="Algorithm"><Select value={hmac.algorithm} onChange={(value) => setHmac((before) => ({ ...before, algorithm: value as HmacForm["algorithm"] }))} options={["sha256", "sha512", "sha1"].map((value) => ({ value, label: value }))} /></Field>
              <Field label="Encoding"><Select value={hmac.encoding} onChange={(value) => setHmac((before) => ({ ...before, encoding: value as HmacForm["encoding"] }))} options={["hex", "base64"].map((value) => ({ value, label: value }))} /></Field>
              <Field label="Prefix" hint="e.g. sha256="><Input value={hmac.prefix} onChange={set("prefix")} /></Field>
              <Field label="What is signed" hint="{body}, or {timestamp}.{body}" error={form.errorAt("signed")}><Input value={hmac.signed} onChange={set("signed")} /></Field>
              <Field label="Timestamp header" error={form.errorAt("timestamp_header")}><Input value={hmac.timestamp_header} onChange={set("timestamp_header")} /></Field>
              <Field label="Id header"><Input value={hmac.id_header} onChange={set("id_header")} /></Field>
              <Field label="… or id in the body" hint="JSON pointer"><Input value={hmac.id_pointer} onChange={set("id_pointer")} /></Field>
              <Field label="Type header"><Input value={hmac.type_header} onChange={set("type_header")} /></Field>
              <Field label="… or type in the body" hint="JSON pointer"><Input value={hmac.type_pointer} onChange={set("type_pointer")} /></Field>
              <Field label="The key is written in"><Select value={hmac.key_encoding} onChange={(value) => setHmac((before) => ({ ...before, key_encoding: value as HmacForm["key_encoding"] }))} options={["utf8", "base64", "hex"].map((value) => ({ value, label: value }))} /></Field>
            </div>
            <Notice>The id makes an event unique. Without one from the provider, nothing can tell a duplicate from a new event.</Notice>
          </>
        )}
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}
