import type { SourceScheme } from "../api/types";
import { Notice } from "../ui/basics";
import { columnsClass, Field, Group, Input, Select, TextArea } from "../ui/form";
import { canHaveRate, type HmacForm, judgesTime, type PlaceForm, readsParts, type SettingsForm } from "./source-settings";

interface Fields {
  scheme: SourceScheme;
  form: SettingsForm;
  onChange: (patch: Partial<SettingsForm>) => void;
  errorAt: (field: string) => string | null;
}

const plain = { autoComplete: "off", autoCapitalize: "none" } as const;

/** How requests of a scheme are recognised, beside its secret. */
export function SchemeFields({ scheme, form, onChange, errorAt }: Fields) {
  return (
    <>
      <Field
        label={scheme === "address" ? "Addresses" : "Only from these addresses"}
        hint={`Addresses and ranges, such as 192.0.2.0/24${scheme === "address" ? "." : ". Empty: from anywhere."}`}
        error={errorAt("allow")}
      >
        <TextArea rows={1} value={form.allow} onChange={(allow) => onChange({ allow })} {...plain} />
      </Field>
      {scheme === "twilio" && (
        <Field label="Address as Twilio has it" hint="Only where it is not the one above: Twilio signs it. Without what follows a question mark." error={errorAt("url")}>
          <Input value={form.url} onChange={(url) => onChange({ url })} {...plain} />
        </Field>
      )}
      {scheme === "hmac" && <HmacFields form={form.hmac} onChange={(hmac) => onChange({ hmac })} errorAt={errorAt} />}
      {scheme === "bearer" && (
        <div className={columnsClass}>
          <Field label="Header with the token" error={errorAt("header")}>
            <Input value={form.bearer.header} onChange={(header) => onChange({ bearer: { ...form.bearer, header } })} {...plain} />
          </Field>
          <Field label="Before the token" hint="Empty: “Bearer ” in Authorization, nothing elsewhere" error={errorAt("prefix")}>
            <Input value={form.bearer.prefix} onChange={(prefix) => onChange({ bearer: { ...form.bearer, prefix } })} {...plain} />
          </Field>
        </div>
      )}
      {readsParts(scheme) && (
        <Group label="Where an event’s parts stand">
          <PlaceFields label="Id" none="Nowhere: the body’s digest" place={form.id} onChange={(id) => onChange({ id })} error={errorAt("id")} />
          <PlaceFields label="Type" none="Nowhere" fixed place={form.type} onChange={(type) => onChange({ type })} error={errorAt("type")} />
          <PlaceFields label="Time" none="Nowhere" place={form.occurred_at} onChange={(occurred_at) => onChange({ occurred_at })} error={errorAt("occurred_at")} />
          <Notice>
            {scheme === "hmac"
              ? "The id makes an event unique. Without one from the provider, equal bodies are one event."
              : "Nothing is signed: this says who sends, and not that the body is as it was sent."}
          </Notice>
        </Group>
      )}
    </>
  );
}

const choices = (...values: string[]) => values.map((value) => ({ value, label: value }));

function HmacFields({ form, onChange, errorAt }: { form: HmacForm; onChange: (form: HmacForm) => void; errorAt: Fields["errorAt"] }) {
  const set = (key: "header" | "prefix" | "signed" | "timestamp_header") => (value: string) => onChange({ ...form, [key]: value });
  const choose = (key: "algorithm" | "encoding" | "key_encoding") => (value: string) => onChange({ ...form, [key]: value } as HmacForm);
  const part = (key: keyof HmacForm["parts"]) => (value: string) => onChange({ ...form, parts: { ...form.parts, [key]: value } });
  return (
    <Group label="Signature">
      <div className={columnsClass}>
        <Field label="Signature header" error={errorAt("header")}><Input value={form.header} onChange={set("header")} {...plain} /></Field>
        <Field label="Prefix" hint="What stands before it, e.g. sha256=" error={errorAt("prefix")}><Input value={form.prefix} onChange={set("prefix")} {...plain} /></Field>
        <Field label="Algorithm"><Select value={form.algorithm} onChange={choose("algorithm")} options={choices("sha256", "sha512", "sha1")} /></Field>
        <Field label="Encoding"><Select value={form.encoding} onChange={choose("encoding")} options={choices("hex", "base64")} /></Field>
        <Field label="The key is written in"><Select value={form.key_encoding} onChange={choose("key_encoding")} options={choices("utf8", "base64", "hex")} /></Field>
        <Field label="What is signed" hint="{body}, or {timestamp}.{body}" error={errorAt("signed")}><Input value={form.signed} onChange={set("signed")} {...plain} /></Field>
        <Field label="Timestamp header" hint="Where {timestamp} stands" error={errorAt("timestamp_header")}><Input value={form.timestamp_header} onChange={set("timestamp_header")} {...plain} /></Field>
      </div>
      <div className={columnsClass}>
        <Field label="Fields are separated by" hint="Of a header such as ts=…;h1=…" error={errorAt("separator") ?? errorAt("parts")}><Input maxLength={1} value={form.parts.separator} onChange={part("separator")} {...plain} /></Field>
        <Field label="Field of the signature" hint="h1, say"><Input value={form.parts.signature} onChange={part("signature")} {...plain} /></Field>
        <Field label="Field of the time" hint="ts, say"><Input value={form.parts.timestamp} onChange={part("timestamp")} {...plain} /></Field>
      </div>
    </Group>
  );
}

function PlaceFields({ label, none, fixed, place, onChange, error }: { label: string; none: string; fixed?: boolean; place: PlaceForm; onChange: (place: PlaceForm) => void; error: string | null }) {
  const options = [
    { value: "", label: none },
    { value: "header", label: "In a header" },
    { value: "pointer", label: "In the body" },
    ...(fixed ? [{ value: "fixed", label: "Always this one" }] : []),
  ];
  const hint = { "": undefined, header: "Its name", pointer: "A JSON pointer, such as /data/id", fixed: undefined }[place.kind];
  return (
    <div className={columnsClass}>
      <Field label={label}>
        <Select value={place.kind} onChange={(kind) => onChange({ ...place, kind: kind as PlaceForm["kind"] })} options={options} />
      </Field>
      {place.kind !== "" && (
        <Field label={`${label}: where`} hint={hint} error={error}>
          <Input value={place.at} onChange={(at) => onChange({ ...place, at })} {...plain} />
        </Field>
      )}
    </div>
  );
}

/** What a source takes and answers, and what is read out of its events: the same for every scheme. */
export function SourceFields({ scheme, form, onChange, errorAt }: Fields) {
  const answer = (key: keyof SettingsForm["answer"]) => (value: string) => onChange({ answer: { ...form.answer, [key]: value } });
  const rate = (key: keyof SettingsForm["rate"]) => (value: string) => onChange({ rate: { ...form.rate, [key]: value } });
  return (
    <>
      <Group label="What it takes">
        <div className={columnsClass}>
          {judgesTime(scheme) && (
            <Field label="Clock tolerance" hint="How far a signature’s time may be off, e.g. 5 min" error={errorAt("tolerance_secs")}>
              <Input value={form.tolerance} onChange={(tolerance) => onChange({ tolerance })} {...plain} />
            </Field>
          )}
          <Field label="Largest body" hint="At most 16 MiB" error={errorAt("body_limit_bytes")}>
            <Input value={form.body_limit} onChange={(body_limit) => onChange({ body_limit })} {...plain} />
          </Field>
          {canHaveRate(scheme) && (
            <>
              <Field label="Requests a second" hint="On each node. Empty: any number. What is over is told to come again." error={errorAt("per_second") ?? errorAt("rate")}>
                <Input inputMode="numeric" value={form.rate.per_second} onChange={rate("per_second")} />
              </Field>
              <Field label="Of them at once" hint="Empty: ten seconds’ worth" error={errorAt("burst")}>
                <Input inputMode="numeric" value={form.rate.burst} onChange={rate("burst")} />
              </Field>
            </>
          )}
        </div>
      </Group>
      <Group label="What it answers">
        <div className={columnsClass}>
          <Field label="Status" hint="200 to 299. Empty: as the scheme says" error={errorAt("status")}>
            <Input inputMode="numeric" value={form.answer.status} onChange={answer("status")} />
          </Field>
          <Field label="Content type" error={errorAt("content_type")}>
            <Input value={form.answer.content_type} onChange={answer("content_type")} placeholder="text/plain; charset=utf-8" {...plain} />
          </Field>
        </div>
        <Field label="Body" hint="Only where the provider reads it" error={errorAt("body")}>
          <TextArea rows={2} value={form.answer.body} onChange={answer("body")} {...plain} />
        </Field>
      </Group>
      <Group label="Rules, as JSON">
        <Field label="Whose an event is" hint={<>Empty: the source’s own tenant’s. Else e.g. <code>{'{"find":[{"pointer":"/account"}]}'}</code></>} error={errorAt("tenant") ?? errorAt("find")}>
          <TextArea rows={2} value={form.tenant} onChange={(tenant) => onChange({ tenant })} {...plain} />
        </Field>
        <Field label="Where ids of objects stand" hint={<>Empty: where the scheme has them. Else e.g. <code>{'[{"name":"order","pointer":"/order/id"}]'}</code></>} error={errorAt("objects")}>
          <TextArea rows={2} value={form.objects} onChange={(objects) => onChange({ objects })} {...plain} />
        </Field>
        <Field
          label="What must come after what"
          hint={<>E.g. <code>{'[{"name":"paid","after":{"type":"order.created","key":"/id"},"expect":{"type":"order.paid","key":"/id"},"within_secs":3600}]'}</code></>}
          error={errorAt("expect")}
        >
          <TextArea rows={2} value={form.expect} onChange={(expect) => onChange({ expect })} {...plain} />
        </Field>
      </Group>
    </>
  );
}
