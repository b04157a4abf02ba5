import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { client, unwrap } from "../api/client";
import { queries, useTenants } from "../api/queries";
import type { Endpoint, EndpointChange, Signing } from "../api/types";
import { differing, Reader, writeSpan } from "../lib/typed";
import { Button, ProblemCard } from "../ui/basics";
import { Dialog, SecretDialog, shownOnce } from "../ui/dialog";
import { columnsClass, Field, formClass, Group, Input, Select, useSubmit } from "../ui/form";
import { useToast } from "../ui/toast";
import { type RetryForm, retryForm, retryPolicy } from "./retry";
import { RetryFields } from "./retry-fields";

const signings: { value: Signing; label: string }[] = [
  { value: "standard_webhooks", label: "Standard Webhooks, with the endpoint's own secret" },
  { value: "original", label: "The provider's original headers and signature" },
];

interface Settings {
  name: string;
  url: string;
  signing: Signing;
  timeout: string;
  connect: string;
  inFlight: string;
  /** Only of one that exists: a new one begins with the server's defaults. */
  retry: RetryForm | null;
  breaker: { failures: string; pause: string; pauseMax: string } | null;
}

const settingsOf = (endpoint: Endpoint | undefined): Settings => ({
  name: endpoint?.name ?? "",
  url: endpoint?.url ?? "",
  signing: endpoint?.signing ?? "standard_webhooks",
  timeout: endpoint ? writeSpan(endpoint.timeout_ms) : "",
  connect: endpoint ? writeSpan(endpoint.connect_timeout_ms) : "",
  inFlight: endpoint ? String(endpoint.max_in_flight) : "",
  retry: endpoint ? retryForm(endpoint.retry) : null,
  breaker: endpoint
    ? {
        failures: String(endpoint.breaker_settings.failures_to_open),
        pause: writeSpan(endpoint.breaker_settings.pause_ms ?? 0),
        pauseMax: writeSpan(endpoint.breaker_settings.pause_max_ms ?? 0),
      }
    : null,
});

/** What the form says. An empty field says nothing, but for the breaker's: there it is the usual. What of a breaker is not in the form stays. */
function read({ name, url, signing, timeout, connect, inFlight, retry, breaker }: Settings, kept: Endpoint["breaker_settings"] | undefined) {
  const reader = new Reader();
  const body = {
    name: name.trim(),
    url: url.trim(),
    signing,
    timeout_ms: reader.span("timeout_ms", timeout),
    connect_timeout_ms: reader.span("connect_timeout_ms", connect),
    max_in_flight: reader.count("max_in_flight", inFlight),
    retry: retry ? retryPolicy(reader, retry) : undefined,
    breaker_settings: breaker
      ? {
          ...kept,
          failures_to_open: reader.count("failures_to_open", breaker.failures),
          pause_ms: reader.span("pause_ms", breaker.pause),
          pause_max_ms: reader.span("pause_max_ms", breaker.pauseMax),
        }
      : undefined,
  };
  reader.done();
  return body;
}

/** A new endpoint, or the settings of one that exists. */
export function EndpointForm({ endpoint, onClose }: { endpoint?: Endpoint; onClose: () => void }) {
  const queryClient = useQueryClient();
  const tenants = useTenants();
  const say = useToast();
  const [, navigate] = useLocation();
  // What it was when the form was opened: the page behind it goes on changing.
  const [was] = useState(endpoint);
  const [settings, setSettings] = useState(() => settingsOf(was));
  const [tenant, setTenant] = useState("");
  const [made, setMade] = useState<{ endpoint: Endpoint; secret: string } | null>(null);
  const set = (patch: Partial<Settings>) => setSettings((before) => ({ ...before, ...patch }));

  const form = useSubmit(async () => {
    const body = read(settings, endpoint?.breaker_settings);
    if (was) {
      const changed = await unwrap(
        client.PATCH("/v1/endpoints/{id}", { params: { path: { id: was.id } }, body: differing<EndpointChange>(was, body) }),
      );
      queryClient.setQueryData(queries.endpoint(was.id).queryKey, changed);
      void queryClient.invalidateQueries({ queryKey: ["endpoints"] });
      say(`${changed.name} is changed`);
      onClose();
    } else {
      const answer = await unwrap(client.POST("/v1/endpoints", { body: { ...body, tenant_id: tenant || tenants.list[0]?.id } }));
      void queryClient.invalidateQueries({ queryKey: ["endpoints"] });
      setMade({ endpoint: answer.endpoint, secret: shownOnce(answer.secret) });
    }
  });

  if (made) {
    return (
      <SecretDialog
        open
        onClose={() => {
          onClose();
          navigate(`/endpoints/${made.endpoint.id}`);
        }}
        title={`Endpoint ${made.endpoint.name} is there`}
        text="Your code verifies with this secret that a request comes from Mainstay."
        secret={made.secret}
      />
    );
  }
  const { retry, breaker } = settings;
  const text = { autoComplete: "off", autoCapitalize: "none" } as const;
  const empty = endpoint ? undefined : "Empty: the server's default";
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title={was ? `Change ${was.name}` : "New endpoint"}
      text={was ? undefined : "Your own address, which jobs are pushed to."}
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy || settings.name.trim() === "" || settings.url.trim() === ""}>
            {form.busy ? "Saving…" : was ? "Save" : "Create endpoint"}
          </Button>
        </>
      }
    >
      <div className={formClass}>
        <Field label="Name" error={form.errorAt("name")}>
          <Input value={settings.name} onChange={(name) => set({ name })} {...text} placeholder="shop" />
        </Field>
        <Field label="URL" hint="Answers with 2xx when it has taken the job over." error={form.errorAt("url")}>
          <Input type="url" inputMode="url" value={settings.url} onChange={(url) => set({ url })} autoComplete="off" placeholder="https://shop.example.com/hooks" />
        </Field>
        {!was && tenants.many && (
          <Field label="Tenant" error={form.errorAt("tenant_id")}>
            <Select value={tenant || tenants.list[0]!.id} onChange={setTenant} options={tenants.list.map(({ id, name: label }) => ({ value: id, label }))} />
          </Field>
        )}
        <Field label="Signed with" error={form.errorAt("signing")}>
          <Select value={settings.signing} onChange={(value) => set({ signing: value as Signing })} options={signings} />
        </Field>
        <div className={columnsClass}>
          <Field label="Time for an answer" hint={empty ?? "Such as 500 ms or 15 s"} error={form.errorAt("timeout_ms")}>
            <Input value={settings.timeout} onChange={(timeout) => set({ timeout })} {...text} />
          </Field>
          <Field label="Time to connect" hint={empty} error={form.errorAt("connect_timeout_ms")}>
            <Input value={settings.connect} onChange={(connect) => set({ connect })} {...text} />
          </Field>
          <Field label="At most in flight" hint={empty} error={form.errorAt("max_in_flight")}>
            <Input inputMode="numeric" value={settings.inFlight} onChange={(inFlight) => set({ inFlight })} />
          </Field>
        </div>
        {retry && <RetryFields form={retry} onChange={(changed) => set({ retry: changed })} errorAt={form.errorAt} />}
        {breaker && (
          <Group label="Breaker">
            <div className={columnsClass}>
              <Field label="Opens after failures" hint="One after the other" error={form.errorAt("failures_to_open")}>
                <Input inputMode="numeric" value={breaker.failures} onChange={(failures) => set({ breaker: { ...breaker, failures } })} />
              </Field>
              <Field label="First pause" hint="Doubles with each probe that fails" error={form.errorAt("pause_ms")}>
                <Input value={breaker.pause} onChange={(pause) => set({ breaker: { ...breaker, pause } })} {...text} />
              </Field>
              <Field label="Longest pause" error={form.errorAt("pause_max_ms")}>
                <Input value={breaker.pauseMax} onChange={(pauseMax) => set({ breaker: { ...breaker, pauseMax } })} {...text} />
              </Field>
            </div>
          </Group>
        )}
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}
