import {
  createContext,
  type InputHTMLAttributes,
  type ReactNode,
  type Ref,
  type SelectHTMLAttributes,
  type TextareaHTMLAttributes,
  useContext,
  useEffect,
  useId,
  useState,
} from "react";
import { asApiError } from "../api/problem";
import { Mistakes } from "../lib/typed";
import { Icon } from "./icon";
import css from "./ui.module.css";

interface FieldIds {
  id: string;
  hint?: string;
  error?: string;
}
const FieldContext = createContext<FieldIds | null>(null);

export function Field({
  label,
  hint,
  error,
  children,
}: {
  label: ReactNode;
  hint?: ReactNode;
  error?: string | null;
  children: ReactNode;
}) {
  const id = useId();
  const ids: FieldIds = {
    id,
    hint: hint ? `${id}hint` : undefined,
    error: error ? `${id}error` : undefined,
  };
  return (
    <div className={css.field}>
      <label htmlFor={id}>{label}</label>
      <FieldContext value={ids}>{children}</FieldContext>
      {error && (
        <p className={css.fieldError} id={ids.error} role="alert">
          <Icon name="warning" size={13} />
          {error}
        </p>
      )}
      {hint && <p className={css.hint} id={ids.hint}>{hint}</p>}
    </div>
  );
}

function useFieldProps() {
  const ids = useContext(FieldContext);
  if (!ids) return {};
  return {
    id: ids.id,
    "aria-describedby": [ids.error, ids.hint].filter(Boolean).join(" ") || undefined,
    "aria-invalid": ids.error ? true : undefined,
  };
}

type OnChange = { onChange: (value: string) => void };

export function Input({
  onChange,
  ref,
  ...rest
}: Omit<InputHTMLAttributes<HTMLInputElement>, "onChange"> & OnChange & { ref?: Ref<HTMLInputElement> }) {
  return (
    <input
      className={css.input}
      spellCheck={false}
      {...useFieldProps()}
      {...rest}
      ref={ref}
      onChange={(event) => onChange(event.target.value)}
    />
  );
}

export function TextArea({ onChange, ...rest }: Omit<TextareaHTMLAttributes<HTMLTextAreaElement>, "onChange"> & OnChange) {
  return (
    <textarea
      className={css.input}
      spellCheck={false}
      {...useFieldProps()}
      {...rest}
      onChange={(event) => onChange(event.target.value)}
    />
  );
}

/** The browser's own: nothing is quicker on a phone or better known to a screen reader. */
export function Select({
  onChange,
  options,
  ...rest
}: Omit<SelectHTMLAttributes<HTMLSelectElement>, "onChange"> & OnChange & { options: { value: string; label: string }[] }) {
  return (
    <select className={css.input} {...useFieldProps()} {...rest} onChange={(event) => onChange(event.target.value)}>
      {options.map((option) => (
        <option key={option.value} value={option.value}>{option.label}</option>
      ))}
    </select>
  );
}

export function Check({ label, checked, onChange }: { label: ReactNode; checked: boolean; onChange: (on: boolean) => void }) {
  return (
    <label className={css.check}>
      <input type="checkbox" checked={checked} onChange={(event) => onChange(event.target.checked)} />
      <span>{label}</span>
    </label>
  );
}

/** Fields that belong together, under one name. */
export const Group = ({ label, children }: { label: ReactNode; children: ReactNode }) => (
  <fieldset className={css.group}>
    <legend className={css.legend}>{label}</legend>
    {children}
  </fieldset>
);

/** What a form needs around its fields: whether it is being sent, what went wrong, and at which field. */
export function useSubmit(send: () => Promise<void>) {
  const [busy, setBusy] = useState(false);
  const [failed, setError] = useState<unknown>(null);
  const mistakes = failed instanceof Mistakes ? failed.at : null;
  const error = mistakes === null ? failed : null;
  const problem = error === null ? null : asApiError(error).problem;
  // A long form scrolls: what has to be mended comes into view.
  useEffect(() => {
    if (failed === null) return;
    const inDialog = (what: string) => document.querySelector<HTMLElement>(`[role=dialog] ${what}`);
    const field = inDialog("[aria-invalid=true]");
    if (field) field.focus();
    else inDialog("[role=alert]")?.scrollIntoView({ block: "nearest" });
  }, [failed]);
  return {
    busy,
    /** What the server, or the way to it, refused: said below the fields. */
    error,
    reset: () => setError(null),
    submit: () => {
      if (busy) return;
      setBusy(true);
      setError(null);
      send()
        .catch(setError)
        .finally(() => setBusy(false));
    },
    /** What was said of one field: by the server under the last part of its JSON pointer, else by the form itself. */
    errorAt: (field: string): string | null =>
      mistakes?.[field] ??
      problem?.errors?.find(({ pointer }) => pointer === field || pointer.endsWith(`/${field}`))?.detail ??
      null,
  };
}

export const formClass = css.form;
export const columnsClass = css.columns;
export const hintClass = css.hint;
