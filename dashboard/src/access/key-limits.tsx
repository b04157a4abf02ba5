import { useState } from "react";
import { client, unwrap } from "../api/client";
import type { Key } from "../api/types";
import { Ago, Button, Facts, Moment, ProblemCard } from "../ui/basics";
import { Dialog } from "../ui/dialog";
import { columnsClass, Field, formClass, Input, Select, useSubmit } from "../ui/form";

type Limit = Key["limits"][number];
type Class = Limit["class"];

const classes: { value: Class; label: string }[] = [
  { value: "reads", label: "Reads: look at something" },
  { value: "writes", label: "Writes: change something" },
  { value: "work", label: "Work: submit jobs, follow events" },
  { value: "purchases", label: "Purchases" },
  { value: "credit_purchases", label: "Purchases of credits" },
];

const HOUR_MS = 3_600_000;
const lasting = [
  { value: String(HOUR_MS), label: "For an hour" },
  { value: String(24 * HOUR_MS), label: "For a day" },
  { value: String(7 * 24 * HOUR_MS), label: "For a week" },
  { value: "", label: "Until it is changed" },
];

/** What a key's row says of its limits. */
export function limitsText(key: Key): string {
  return key.limits.length === 0 ? "as all keys" : key.limits.map((limit) => `${limit.per_minute} ${limit.class.replace("_", " ")}`).join(", ");
}

/** The list that is sent: who said what and when is the server's to say. */
export function limitsWith(key: Key, of: Class, word: { per_minute: number; until?: string; reason: string } | null) {
  const others = key.limits
    .filter((limit) => limit.class !== of)
    .map(({ class: kind, per_minute, until, reason }) => ({ class: kind, per_minute, until: until ?? undefined, reason }));
  return word === null ? others : [...others, { class: of, ...word }];
}

export function KeyLimits({ of, onClose, onSaid }: { of: Key; onClose: () => void; onSaid: (said: string) => void }) {
  const [kind, setKind] = useState<Class>("writes");
  const [perMinute, setPerMinute] = useState("");
  const [lasts, setLasts] = useState(lasting[0]?.value ?? "");
  const [reason, setReason] = useState("");
  const send = async (limits: ReturnType<typeof limitsWith>, said: string) => {
    await unwrap(client.PATCH("/v1/keys/{id}", { params: { path: { id: of.id } }, body: { limits } }));
    onSaid(said);
  };
  const form = useSubmit(async () => {
    const until = lasts === "" ? undefined : new Date(Date.now() + Number(lasts)).toISOString();
    await send(limitsWith(of, kind, { per_minute: Number(perMinute), until, reason: reason.trim() }), `${of.name} may make ${perMinute} ${kind.replace("_", " ")} a minute`);
  });
  const usual = useSubmit(() => send([], `${of.name} may make what all keys may`));
  const ready = /^[1-9]\d{0,8}$/.test(perMinute) && reason.trim() !== "";
  const busy = form.busy || usual.busy;
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!busy}
      title={`Requests of ${of.name}`}
      onSubmit={form.submit}
      foot={
        <>
          {of.limits.length > 0 && (
            <Button onClick={usual.submit} disabled={busy}>
              As all keys
            </Button>
          )}
          <Button onClick={onClose} disabled={busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={busy || !ready}>{form.busy ? "Saving…" : "Save limit"}</Button>
        </>
      }
    >
      <div className={formClass}>
        {of.limits.length > 0 && (
          <Facts
            items={of.limits.map((limit) => [
              `${limit.per_minute} ${limit.class.replace("_", " ")} a minute`,
              <span key={limit.class}>
                {limit.reason} ({limit.by}, <Ago at={limit.at} />){limit.until != null && <>, until <Moment at={limit.until} /></>}
              </span>,
            ])}
          />
        )}
        <Field label="Requests">
          <Select value={kind} onChange={(value) => setKind(value as Class)} options={classes} />
        </Field>
        <div className={columnsClass}>
          <Field label="In a minute" hint="On each node.">
            <Input value={perMinute} onChange={setPerMinute} inputMode="numeric" autoComplete="off" placeholder="600" />
          </Field>
          <Field label="For how long">
            <Select value={lasts} onChange={setLasts} options={lasting} />
          </Field>
        </div>
        <Field label="Why" hint="It stands in the audit log.">
          <Input value={reason} onChange={setReason} autoComplete="off" placeholder="the yearly import" />
        </Field>
        {form.error !== null && <ProblemCard error={form.error} />}
        {usual.error !== null && <ProblemCard error={usual.error} />}
      </div>
    </Dialog>
  );
}
