// Payloads and answers, as they came: pretty where they are JSON, never without a limit.
import { Fragment, type ReactNode, useMemo } from "react";
import { CopyButton } from "./basics";
import css from "./ui.module.css";

const SHOWN_MAX = 200_000;
/** Colouring makes a span for every token; beyond this it would be felt. */
const COLOURED_MAX = 40_000;

const token = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

function coloured(json: string): ReactNode[] {
  const parts: ReactNode[] = [];
  let end = 0;
  for (const match of json.matchAll(token)) {
    if (match.index > end) parts.push(json.slice(end, match.index));
    const [whole, string, colon] = match;
    const kind = string === undefined ? css.n : colon === undefined ? css.s : css.k;
    parts.push(
      <Fragment key={match.index}>
        <span className={kind}>{string ?? whole}</span>
        {colon}
      </Fragment>,
    );
    end = match.index + whole.length;
  }
  parts.push(json.slice(end));
  return parts;
}

export function Body({
  label,
  text,
  json,
  actions,
  headless,
}: {
  label: string;
  text?: string | null;
  json?: unknown;
  actions?: ReactNode;
  headless?: boolean;
}) {
  const isJson = json !== undefined && json !== null;
  const whole = useMemo(() => (isJson ? JSON.stringify(json, null, 2) : (prettyIfJson(text) ?? text ?? "")), [isJson, json, text]);
  const cut = whole.length > SHOWN_MAX;
  const shown = cut ? whole.slice(0, SHOWN_MAX) : whole;
  const colour = (isJson || prettyIfJson(text) !== null) && whole.length <= COLOURED_MAX;
  return (
    <div>
      {!headless && (
        <div className={css.codeHead}>
          <span className="secondary">{label}</span>
          {actions}
          <CopyButton text={whole} label={`Copy ${label.toLowerCase()}`} />
        </div>
      )}
      <pre className={css.code} tabIndex={0} role="group" aria-label={label}>
        {whole === "" ? <span className="muted">empty</span> : colour ? coloured(shown) : shown}
        {cut && "\n… cut here; the copy has all of it"}
      </pre>
    </div>
  );
}

function prettyIfJson(text: string | null | undefined): string | null {
  if (!text || !/^\s*[{[]/.test(text)) return null;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return null;
  }
}
