import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { useTenants } from "../api/queries";
import type { Queue } from "../api/types";
import { Reader } from "../lib/typed";
import { Button, ProblemCard } from "../ui/basics";
import { Dialog } from "../ui/dialog";
import { Field, formClass, Group, hintClass, Input, Select, useSubmit } from "../ui/form";
import { useToast } from "../ui/toast";
import { limitsChange, type LimitsForm, limitsForm, type RateForm } from "./queue-limits";
import { called } from "./queues";
import css from "./queues.module.css";

type ErrorAt = (field: string) => string | null;

/** How much of a queue may run. It holds for the next job that begins. */
export function QueueLimitsForm({ queue, onClose }: { queue: Queue; onClose: () => void }) {
  const queryClient = useQueryClient();
  const say = useToast();
  // What it was when the form was opened: the queue behind it goes on changing.
  const [was] = useState(queue.limits);
  const [form, setForm] = useState(() => limitsForm(was));
  const set = (patch: Partial<LimitsForm>) => setForm((before) => ({ ...before, ...patch }));
  const submit = useSubmit(async () => {
    const body = limitsChange(new Reader(), was, form);
    await unwrap(client.PATCH("/v1/queues/{name}", { params: { path: { name: queue.name } }, body }));
    await queryClient.invalidateQueries({ queryKey: ["queues"] });
    say(`The limits of ${called(queue)} hold for the next job that begins`);
    onClose();
  });
  const { errorAt } = submit;
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!submit.busy}
      title={`Limits of ${called(queue)}`}
      text="An empty field is no limit. What runs is not stopped by a change."
      onSubmit={submit.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={submit.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={submit.busy}>{submit.busy ? "Saving…" : "Save limits"}</Button>
        </>
      }
    >
      <div className={formClass}>
        <Group label="The whole queue">
          <Field label="Jobs under way at once" hint={queue.endpoint_id ? "The endpoint has a number of its own; the lower one holds" : undefined} error={errorAt("max_in_flight")}>
            <Input inputMode="numeric" value={form.places} onChange={(places) => set({ places })} />
          </Field>
          <RateFields label="Jobs" name="rate" form={form.rate} onChange={(rate) => set({ rate })} errorAt={errorAt} />
          <p className={hintClass}>So many may begin in that time, spread evenly; after a pause as many as the burst may begin at once.</p>
        </Group>
        <Group label="Each tenant of it">
          <Field label="Jobs of one under way at once" error={errorAt("tenant_max_in_flight")}>
            <Input inputMode="numeric" value={form.tenantPlaces} onChange={(tenantPlaces) => set({ tenantPlaces })} />
          </Field>
          <RateFields label="Jobs of one" name="tenant_rate" form={form.tenantRate} onChange={(tenantRate) => set({ tenantRate })} errorAt={errorAt} />
        </Group>
        <Group label="What may wait">
          <Field label="Jobs waiting" hint="From then on submissions through the API are refused until it is fewer. Events and schedules never are" error={errorAt("max_waiting")}>
            <Input inputMode="numeric" value={form.waiting} onChange={(waiting) => set({ waiting })} />
          </Field>
          <Field label="The oldest waiting for" error={errorAt("max_age_secs")}>
            <Input value={form.age} onChange={(age) => set({ age })} autoComplete="off" autoCapitalize="none" placeholder="15 min" />
          </Field>
        </Group>
        <Weights form={form} onChange={(weights) => set({ weights })} errorAt={errorAt} />
        {submit.error !== null && <ProblemCard error={submit.error} />}
      </div>
    </Dialog>
  );
}

function RateFields({ label, name, form, onChange, errorAt }: { label: string; name: string; form: RateForm; onChange: (form: RateForm) => void; errorAt: ErrorAt }) {
  const set = (key: keyof RateForm) => (value: string) => onChange({ ...form, [key]: value });
  return (
    <div className={css.rate}>
      <Field label={`${label} begun`} error={errorAt(`${name}_count`) ?? errorAt(name)}>
        <Input inputMode="numeric" value={form.count} onChange={set("count")} />
      </Field>
      <Field label="In" error={errorAt(`${name}_per`)}>
        <Input value={form.per} onChange={set("per")} placeholder="1 s" autoComplete="off" autoCapitalize="none" />
      </Field>
      <Field label="Burst" error={errorAt(`${name}_burst`)}>
        <Input inputMode="numeric" value={form.burst} onChange={set("burst")} placeholder="1" />
      </Field>
    </div>
  );
}

/** Shares of tenants. Who is not named has one. */
function Weights({ form, onChange, errorAt }: { form: LimitsForm; onChange: (weights: LimitsForm["weights"]) => void; errorAt: ErrorAt }) {
  const { list, nameOf } = useTenants();
  const { weights } = form;
  const others = list.filter(({ id }) => !weights.some(({ tenant }) => tenant === id));
  // With one tenant there is nothing to share.
  if (list.length < 2 && weights.length === 0) return null;
  return (
    <Group label="Shares of the worker time">
      {weights.length > 0 && (
        <ul className={css.weights}>
          {weights.map(({ tenant, weight }) => (
            <li key={tenant}>
              <Field label={`Weight of ${nameOf(tenant)}`} error={errorAt(`weight_${tenant}`)}>
                <Input
                  inputMode="numeric"
                  value={weight}
                  onChange={(value) => onChange(weights.map((each) => (each.tenant === tenant ? { tenant, weight: value } : each)))}
                />
              </Field>
              <Button
                variant="quiet"
                icon="cross"
                title="As every other tenant"
                aria-label={`${nameOf(tenant)} as every other tenant`}
                onClick={() => onChange(weights.filter((each) => each.tenant !== tenant))}
              />
            </li>
          ))}
        </ul>
      )}
      {others.length > 0 && (
        <Field label="Give a tenant another share" hint="A weight of 5 gets five times as much as one of 1. Every tenant that is not named here has 1." error={errorAt("weights")}>
          <Select
            value=""
            onChange={(tenant) => tenant !== "" && onChange([...weights, { tenant, weight: "2" }])}
            options={[{ value: "", label: "Choose a tenant…" }, ...others.map(({ id, name }) => ({ value: id, label: name }))]}
          />
        </Field>
      )}
    </Group>
  );
}
