import { columnsClass, Field, Group, Input, Select } from "../ui/form";
import { type RetryForm, strategies } from "./retry";

/** When to try again, as fields. */
export function RetryFields({ form, onChange, errorAt }: { form: RetryForm; onChange: (form: RetryForm) => void; errorAt: (field: string) => string | null }) {
  const set = (key: keyof RetryForm) => (value: string) => onChange({ ...form, [key]: value });
  const text = { autoComplete: "off", autoCapitalize: "none" } as const;
  return (
    <Group label="Retries">
      <div className={columnsClass}>
        <Field label="Tried again" error={errorAt("strategy")}>
          <Select value={form.strategy} onChange={(value) => onChange({ ...form, strategy: value as RetryForm["strategy"] })} options={strategies} />
        </Field>
        <Field label="Tries in all" hint="Then it is a dead letter" error={errorAt("attempts_max")}>
          <Input inputMode="numeric" value={form.attempts} onChange={set("attempts")} />
        </Field>
      </div>
      {form.strategy === "schedule" ? (
        <Field label="Delays" hint="One after the other, with commas between them; the last is repeated" error={errorAt("delays_ms")}>
          <Input value={form.delays} onChange={set("delays")} {...text} />
        </Field>
      ) : (
        <div className={columnsClass}>
          <Field label="First delay" error={errorAt("base_ms")}><Input value={form.base} onChange={set("base")} {...text} /></Field>
          <Field label="Longest delay" error={errorAt("max_ms")}><Input value={form.max} onChange={set("max")} {...text} /></Field>
          {form.strategy === "exponential" && (
            <>
              <Field label="Grows by" hint="A factor of 1 to 10" error={errorAt("factor")}><Input inputMode="decimal" value={form.factor} onChange={set("factor")} /></Field>
              <Field label="Jitter" hint="The share of a delay that is left to chance, 0 to 1" error={errorAt("jitter")}><Input inputMode="decimal" value={form.jitter} onChange={set("jitter")} /></Field>
            </>
          )}
        </div>
      )}
    </Group>
  );
}
