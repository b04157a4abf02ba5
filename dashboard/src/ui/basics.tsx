import { type ButtonHTMLAttributes, type ReactNode, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { ApiError, asApiError } from "../api/problem";
import { headingThere } from "../app/arrival";
import { copyText } from "../lib/browser";
import { absolute, exact, relative, shortId, span } from "../lib/format";
import { useNow } from "../lib/now";
import { Icon, type IconName } from "./icon";
import css from "./ui.module.css";

export const cx = (...names: (string | false | null | undefined)[]): string => names.filter(Boolean).join(" ");

type Variant = "plain" | "primary" | "danger" | "dangerFill" | "quiet";
interface Look {
  variant?: Variant;
  small?: boolean;
  icon?: IconName;
}

export function buttonClass({ variant = "plain", small }: Look, iconOnly = false): string {
  return cx(css.button, variant !== "plain" && css[variant], small && css.small, iconOnly && css.icon);
}

export function Button({
  variant,
  small,
  icon,
  children,
  className,
  type = "button",
  ...rest
}: Look & ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button type={type} className={cx(buttonClass({ variant, small }, !children), className)} {...rest}>
      {icon && <Icon name={icon} size={small ? 14 : 16} />}
      {children}
    </button>
  );
}

export function ButtonLink({ href, variant, small, icon, children }: Look & { href: string; children: ReactNode }) {
  return (
    <Link href={href} className={buttonClass({ variant, small })}>
      {icon && <Icon name={icon} />}
      {children}
    </Link>
  );
}

export function CopyButton({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <button
      type="button"
      className={cx(css.copy, copied && css.copied)}
      aria-label={copied ? "Copied" : label}
      title={copied ? "Copied" : label}
      onClick={(event) => {
        event.stopPropagation();
        void copyText(text).then((done) => {
          if (!done) return;
          setCopied(true);
          clearTimeout(timer.current);
          timer.current = setTimeout(() => setCopied(false), 1600);
        });
      }}
    >
      <Icon name={copied ? "check" : "copy"} size={14} />
    </button>
  );
}

/** An id in monospace with a copy button; shortened in the middle unless there is room for all of it. */
export function Id({ value, full, href, copy = true }: { value: string; full?: boolean; href?: string; copy?: boolean }) {
  const shown = full ? value : shortId(value);
  return (
    <span className={css.id}>
      {href ? (
        <Link href={href} className="mono" title={value}>{shown}</Link>
      ) : (
        <span className="mono" title={value}>{shown}</span>
      )}
      {copy && <CopyButton text={value} label={`Copy ${value}`} />}
    </span>
  );
}

/** A moment, relative to now; the exact time is in the title. */
export function Ago({ at, never = "never" }: { at: string | null | undefined; never?: string }) {
  const now = useNow();
  if (!at) return <span className="muted">{never}</span>;
  return (
    <time dateTime={at} title={exact(at)} className="nowrap">
      {relative(at, now)}
    </time>
  );
}

/** A moment, as a clock shows it. */
export function Moment({ at }: { at: string }) {
  return (
    <time dateTime={at} title={exact(at)} className="nowrap">
      {absolute(at)}
    </time>
  );
}

/** How long something has been going on. */
export function Since({ at }: { at: string }) {
  const now = useNow();
  return <span title={exact(at)}>{span((now - Date.parse(at)) / 1000)}</span>;
}

export function Skeleton({ width = "100%" }: { width?: string | number }) {
  return <span className={css.skeleton} style={{ width }} aria-hidden="true" />;
}

/** What is still to come, as high as it will be, so that what stands below does not move. */
export const Waits = ({ height }: { height: number }) => (
  <div style={{ height, padding: 16 }} aria-busy="true"><Skeleton width="60%" /></div>
);

/** A heading that is not known yet still says something. */
export const TitleSkeleton = ({ width }: { width: number }) => (
  <>
    <Skeleton width={width} />
    <span className="visually-hidden">Loading</span>
  </>
);

export function Panel({
  title,
  actions,
  children,
  padded = true,
  label,
}: {
  title?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  padded?: boolean;
  label?: string;
}) {
  return (
    <section className={css.panel} role="group" aria-label={label ?? (typeof title === "string" ? title : undefined)}>
      {title !== undefined && (
        <div className={css.panelHead}>
          <h2>{title}</h2>
          {actions && <div className={css.actions}>{actions}</div>}
        </div>
      )}
      {padded ? <div className={css.panelBody}>{children}</div> : children}
    </section>
  );
}

export function PageHead({
  title,
  sub,
  back,
  actions,
  documentTitle,
}: {
  title: ReactNode;
  sub?: ReactNode;
  back?: { href: string; label: string };
  actions?: ReactNode;
  documentTitle?: string;
}) {
  const name = documentTitle ?? (typeof title === "string" ? title : "Mainstay");
  useEffect(() => {
    document.title = name === "Mainstay" ? name : `${name} · Mainstay`;
  }, [name]);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => headingThere(heading.current), []);
  return (
    <header className={css.pageHead}>
      <div>
        {back && (
          <Link href={back.href} className={css.crumb}>
            <Icon name="back" size={14} />
            {back.label}
          </Link>
        )}
        <h1 tabIndex={-1} ref={heading}>{title}</h1>
        {sub && <div className={css.pageSub}>{sub}</div>}
      </div>
      {actions && <div className={css.actions}>{actions}</div>}
    </header>
  );
}

export function Empty({
  icon = "info",
  title,
  children,
  command,
  actions,
}: {
  icon?: IconName;
  title: string;
  children?: ReactNode;
  command?: string;
  actions?: ReactNode;
}) {
  return (
    <div className={css.empty}>
      <Icon name={icon} size={22} />
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {command && <div style={{ maxWidth: 640, width: "100%" }}><Command text={command} /></div>}
      {actions && <div className={css.actions}>{actions}</div>}
    </div>
  );
}

/** What went wrong, in the server's own words, and the way to try again. */
export function ProblemCard({ error, onRetry, what }: { error: unknown; onRetry?: () => void; what?: string }) {
  const { problem, retryAfterSecs } = asApiError(error);
  return (
    <div className={css.problem} role="alert">
      <Icon name="warning" />
      <h2>{what ? `${what}: ${problem.title}` : problem.title}</h2>
      {problem.detail && <p>{problem.detail}</p>}
      {problem.errors && problem.errors.length > 0 && (
        <ul>
          {problem.errors.map((one) => (
            <li key={one.pointer}>
              <code>{one.pointer}</code> {one.detail}
            </li>
          ))}
        </ul>
      )}
      <p className="muted">
        <code>{problem.code}</code>
        {problem.status > 0 && <> · HTTP {problem.status}</>}
        {retryAfterSecs !== null && <> · the server asks to wait {span(retryAfterSecs)}</>}
      </p>
      {onRetry && (
        <div className={css.actions}>
          <Button small icon="retry" onClick={onRetry}>Try again</Button>
        </div>
      )}
    </div>
  );
}

export function Notice({ tone, icon = "info", children }: { tone?: "ok" | "warn" | "bad"; icon?: IconName; children: ReactNode }) {
  return (
    <div className={css.notice} data-tone={tone}>
      <Icon name={icon} />
      <div>{children}</div>
    </div>
  );
}

/** Something to run or to paste, with a copy button. */
export function Command({ text, label = "Copy", wrap }: { text: string; label?: string; wrap?: boolean }) {
  return (
    <div className={css.command} data-wrap={wrap || undefined}>
      <pre tabIndex={0} role="group" aria-label={label === "Copy" ? "Command" : label.replace(/^Copy /, "")}>{text}</pre>
      <CopyButton text={text} label={label} />
    </div>
  );
}

export function Facts({ items }: { items: [string, ReactNode][] }) {
  return (
    <dl className={css.facts}>
      {items.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Segments<T extends string>({
  label,
  options,
  value,
  onChange,
}: {
  label: string;
  options: { value: T; label: string; icon?: IconName }[];
  value: T;
  onChange: (value: T) => void;
}) {
  return (
    <div className={css.segments} role="group" aria-label={label}>
      {options.map((option) => (
        <button key={option.value} type="button" aria-pressed={option.value === value} onClick={() => onChange(option.value)}>
          {option.icon && <Icon name={option.icon} size={14} />}
          <span data-text={option.label}>{option.label}</span>
        </button>
      ))}
    </div>
  );
}

export function notFound(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404;
}
