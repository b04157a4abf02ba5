import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { queries } from "../api/queries";
import type { Binding, OnDead } from "../api/types";
import { Button, ProblemCard } from "../ui/basics";
import { Dialog } from "../ui/dialog";
import { columnsClass, Field, formClass, Group, Input, Select, useSubmit } from "../ui/form";
import { useToast } from "../ui/toast";
import { bindingBody, type BindingForm as Form, bindingForm, handlerOptions } from "./binding";

const onDead: { value: OnDead; label: string }[] = [
  { value: "park", label: "Wait until somebody has looked at it" },
  { value: "continue", label: "Go on behind it" },
];

/** A new binding, or what one that exists is to say. A source or an endpoint whose page it is made on is given. */
export function BindingForm({
  binding,
  source,
  endpoint,
  onClose,
}: {
  binding?: Binding;
  source?: { id: string; name: string };
  endpoint?: { id: string; name: string };
  onClose: () => void;
}) {
  const queryClient = useQueryClient();
  const say = useToast();
  const sources = useQuery(queries.sources()).data?.items ?? [];
  const endpoints = useQuery(queries.endpoints()).data?.items ?? [];
  const [was] = useState(binding);
  const [sourceId, setSourceId] = useState(source?.id ?? "");
  const [form, setForm] = useState<Form>(() => bindingForm(was, endpoint));
  const set = (patch: Partial<Form>) => setForm((before) => ({ ...before, ...patch }));
  const handlers = handlerOptions(endpoints, was);
  const handler = form.handler || handlers[0]!.value;
  const chosenSource = sourceId || sources[0]?.id || "";
  const submit = useSubmit(async () => {
    const body = bindingBody({ ...form, handler }, was);
    if (was) {
      const changed = await unwrap(client.PATCH("/v1/bindings/{id}", { params: { path: { id: was.id } }, body }));
      say(`${changed.name} is changed, for events from now on`);
    } else {
      const made = await unwrap(client.POST("/v1/bindings", { body: { ...body, type_pattern: form.pattern.trim(), source_id: chosenSource } }));
      say(`${made.name} makes jobs from now on`);
    }
    await queryClient.invalidateQueries({ queryKey: ["bindings"] });
    onClose();
  });
  const text = { autoComplete: "off", autoCapitalize: "none" } as const;
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!submit.busy}
      title={was ? `Change ${was.name}` : "New binding"}
      text={was ? "Jobs that it has made stay as they are." : "Every new event that matches makes one job, in the same commit."}
      onSubmit={submit.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={submit.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={submit.busy || form.pattern.trim() === "" || (!was && chosenSource === "")}>
            {submit.busy ? "Saving…" : was ? "Save" : "Create binding"}
          </Button>
        </>
      }
    >
      <div className={formClass}>
        {!was && !source && (
          <Field label="From source" error={submit.errorAt("source_id")}>
            <Select value={chosenSource} onChange={setSourceId} options={sources.map(({ id, name: label }) => ({ value: id, label }))} />
          </Field>
        )}
        <Field label="Event types" hint="Exact, or a beginning with a star (invoice.*), or * for all. Several, separated by commas." error={submit.errorAt("type_pattern")}>
          <Input value={form.pattern} onChange={(pattern) => set({ pattern })} {...text} />
        </Field>
        <Field label="Filter" hint="What these events must say, e.g. body.data.object.amount > 1000. Left empty: nothing." error={submit.errorAt("filter")}>
          <Input value={form.filter} onChange={(filter) => set({ filter })} {...text} />
        </Field>
        {(was || !endpoint) && (
          <Field label="Goes to" error={submit.errorAt("endpoint_id") ?? submit.errorAt("handler")}>
            <Select value={handler} onChange={(value) => set({ handler: value })} options={handlers} />
          </Field>
        )}
        <Field label="Name" hint={was ? undefined : "For people. Left empty, one is made from the above."} error={submit.errorAt("name")}>
          <Input value={form.name} onChange={(name) => set({ name })} autoComplete="off" />
        </Field>
        <Group label="Order">
          <div className={columnsClass}>
            <Field label="In order by" hint="A JSON pointer into the body, e.g. /data/object/customer. Left empty: in no order." error={submit.errorAt("key")}>
              <Input value={form.order} onChange={(order) => set({ order })} {...text} />
            </Field>
            <Field label="Else by" hint="Where the first leads to nothing" error={submit.errorAt("fallback")}>
              <Input value={form.fallback} onChange={(fallback) => set({ fallback })} {...text} disabled={form.order.trim() === ""} />
            </Field>
          </div>
          <Field label="When one becomes a dead letter, the others of its key" error={submit.errorAt("on_dead")}>
            <Select value={form.onDead} onChange={(value) => set({ onDead: value as OnDead })} options={onDead} disabled={form.order.trim() === ""} />
          </Field>
        </Group>
        <Field label="Its jobs expire after" hint="What has not begun by then is a dead letter. Left empty: never." error={submit.errorAt("expires_in_secs")}>
          <Input value={form.expires} onChange={(expires) => set({ expires })} {...text} placeholder="10 min" />
        </Field>
        {submit.error !== null && <ProblemCard error={submit.error} />}
      </div>
    </Dialog>
  );
}
