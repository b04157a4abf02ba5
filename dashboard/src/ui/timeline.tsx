import type { ReactNode } from "react";
import { clock, exact, offset } from "../lib/format";
import { Icon, type IconName } from "./icon";
import type { Tone } from "./status";
import css from "./timeline.module.css";

export const Timeline = ({ label, children }: { label: string; children: ReactNode }) => (
  <ol className={css.line} aria-label={label}>{children}</ol>
);

export function Entry({
  icon,
  tone = "idle",
  title,
  at,
  since,
  children,
}: {
  icon: IconName;
  tone?: Tone;
  title: ReactNode;
  at: string;
  /** The beginning of the story: later entries also say how long after it they were. */
  since?: string;
  children?: ReactNode;
}) {
  return (
    <li className={css.entry}>
      <span className={css.mark} data-tone={tone}>
        <Icon name={icon} size={14} />
      </span>
      <div>
        <div className={css.head}>
          <span className={css.title}>{title}</span>
          <time className={css.when} dateTime={at} title={exact(at)}>
            {clock(at, true)}
            {since !== undefined && since !== at && <> · {offset(since, at)}</>}
          </time>
        </div>
        {children}
      </div>
    </li>
  );
}

export const Detail = ({ children }: { children: ReactNode }) => <div className={css.detail}>{children}</div>;
