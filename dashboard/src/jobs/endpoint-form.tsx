import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { client, unwrap } from "../api/client";
import { queries, useTenants } from "../api/queries";
import type { Endpoint, Signing } from "../api/types";
import { Button, ProblemCard } from "../ui/basics";
import { Dialog, SecretDialog, shownOnce } from "../ui/dialog";
import { columnsClass, Field, formClass, Input, Select, useSubmit } from "../ui/form";
import { useToast } from "../ui/toast";

const signings: { value: Signing; label: string }[] = [
  { value: "standard_webhooks", label: "Standard Webhooks, with the endpoint's own secret" },
  { value: "original", label: "The provider's original headers and signature" },
];

/** A new endpoint, or the settings of one that exists. */
export function EndpointForm({ endpoint, onClose }: { endpoint?: Endpoint; onClose: () => void }) {
  const queryClient = useQueryClient();
  const tenants = useTenants();
  const say = useToast();
  const [, navigate] = useLocation();
  const [name, setName] = useState(endpoint?.name ?? "");
  const [url, setUrl] = useState(endpoint?.url ?? "");
  const [tenant, setTenant] = useState("");
  const [signing, setSigning] = useState<Signing>(endpoint?.signing ?? "standard_webhooks");
  const [timeout, setTimeout] = useState(endpoint ? String(endpoint.timeout_ms / 1000) : "");
  const [inFlight, setInFlight] = useState(endpoint ? String(endpoint.max_in_flight) : "");
  const [made, setMade] = useState<{ endpoint: Endpoint; secret: string } | null>(null);

  const number = (text: string) => (text.trim() === "" ? undefined : Number(text));
  const form = useSubmit(async () => {
    const secs = number(timeout);
    const body = {
      name: name.trim(),
      url: url.trim(),
      signing,
      timeout_ms: secs === undefined ? undefined : Math.round(secs * 1000),
      max_in_flight: number(inFlight),
    };
    if (endpoint) {
      const changed = await unwrap(client.PATCH("/v1/endpoints/{id}", { params: { path: { id: endpoint.id } }, body }));
      queryClient.setQueryData(queries.endpoint(endpoint.id).queryKey, changed);
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
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title={endpoint ? `Change ${endpoint.name}` : "New endpoint"}
      text={endpoint ? undefined : "Your own address, which jobs are pushed to."}
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy || name.trim() === "" || url.trim() === ""}>
            {form.busy ? "Saving…" : endpoint ? "Save" : "Create endpoint"}
          </Button>
        </>
      }
    >
      <div className={formClass}>
        <Field label="Name" error={form.errorAt("name")}>
          <Input value={name} onChange={setName} autoComplete="off" placeholder="shop" autoCapitalize="none" />
        </Field>
        <Field label="URL" hint="Answers with 2xx when it has taken the job over." error={form.errorAt("url")}>
          <Input type="url" inputMode="url" value={url} onChange={setUrl} autoComplete="off" placeholder="https://shop.example.com/hooks" />
        </Field>
        {!endpoint && tenants.many && (
          <Field label="Tenant" error={form.errorAt("tenant_id")}>
            <Select value={tenant || tenants.list[0]!.id} onChange={setTenant} options={tenants.list.map(({ id, name: label }) => ({ value: id, label }))} />
          </Field>
        )}
        <Field label="Signed with" error={form.errorAt("signing")}>
          <Select value={signing} onChange={(value) => setSigning(value as Signing)} options={signings} />
        </Field>
        <div className={columnsClass}>
          <Field label="Timeout in seconds" hint={endpoint ? undefined : "Empty: the server's default"} error={form.errorAt("timeout_ms")}>
            <Input inputMode="decimal" value={timeout} onChange={setTimeout} />
          </Field>
          <Field label="At most in flight" hint={endpoint ? undefined : "Empty: the server's default"} error={form.errorAt("max_in_flight")}>
            <Input inputMode="numeric" value={inFlight} onChange={setInFlight} />
          </Field>
        </div>
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}
