import { Dialog as Base } from "@base-ui/react/dialog";
import { type FormEvent, type ReactNode, useRef, useState } from "react";
import { Button, Command, Notice, ProblemCard } from "./basics";
import { Icon } from "./icon";
import { Field, Input } from "./form";
import css from "./ui.module.css";

export function Dialog({
  open,
  onClose,
  title,
  text,
  children,
  foot,
  onSubmit,
  closable = true,
}: {
  open: boolean;
  onClose: () => void;
  title: ReactNode;
  text?: ReactNode;
  children?: ReactNode;
  foot?: ReactNode;
  /** With it, body and foot are one form. */
  onSubmit?: (event: FormEvent<HTMLFormElement>) => void;
  /** While something runs that cannot be called back, or a secret has not been kept yet. */
  closable?: boolean;
}) {
  const popup = useRef<HTMLDivElement>(null);
  const inside = (
    <>
      {children && <div className={css.dialogBody}>{children}</div>}
      {foot && <div className={css.dialogFoot}>{foot}</div>}
    </>
  );
  return (
    <Base.Root
      open={open}
      // The focus stays inside; the page behind keeps its scrollbar, so that nothing moves when a dialog opens.
      modal="trap-focus"
      onOpenChange={(next) => {
        if (!next && closable) onClose();
      }}
    >
      <Base.Portal>
        <Base.Backdrop className={css.backdrop} />
        <Base.Popup
          className={css.dialog}
          ref={popup}
          // The first field, so that typing can begin; not under a thumb, where a keyboard would cover the half of it.
          initialFocus={(how) =>
            how === "touch" ? popup.current : (popup.current?.querySelector<HTMLElement>("input, select, textarea") ?? popup.current)
          }
        >
          <div className={css.dialogHead}>
            <div>
              <Base.Title className={css.dialogTitle}>{title}</Base.Title>
              {text && <Base.Description render={<div />} className={css.dialogText}>{text}</Base.Description>}
            </div>
            {closable && (
              <Base.Close className={`${css.button} ${css.quiet} ${css.icon}`} aria-label="Close">
                <Icon name="cross" />
              </Base.Close>
            )}
          </div>
          {onSubmit ? (
            <form
              noValidate
              onSubmit={(event) => {
                event.preventDefault();
                onSubmit(event);
              }}
              style={{ display: "contents" }}
            >
              {inside}
            </form>
          ) : (
            inside
          )}
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}

/** One question before something that cannot be undone. With `typed`, its name has to be typed first. */
export function Confirm({
  open,
  onClose,
  title,
  children,
  action,
  run,
  danger = true,
  typed,
}: {
  open: boolean;
  onClose: () => void;
  title: string;
  children: ReactNode;
  action: string;
  run: () => Promise<unknown>;
  danger?: boolean;
  typed?: string;
}) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [name, setName] = useState("");
  const close = () => {
    setError(null);
    setName("");
    onClose();
  };
  const ready = typed === undefined || name === typed;
  return (
    <Dialog
      open={open}
      onClose={close}
      closable={!busy}
      title={title}
      onSubmit={() => {
        if (busy || !ready) return;
        setBusy(true);
        setError(null);
        run()
          .then(close, setError)
          .finally(() => setBusy(false));
      }}
      foot={
        <>
          <Button onClick={close} disabled={busy}>Cancel</Button>
          <Button type="submit" variant={danger ? "dangerFill" : "primary"} disabled={busy || !ready}>
            {busy ? "Working…" : action}
          </Button>
        </>
      }
    >
      <div className="secondary">{children}</div>
      {typed !== undefined && (
        <Field label={<>Type <code>{typed}</code> to confirm</>}>
          <Input value={name} onChange={setName} autoComplete="off" />
        </Field>
      )}
      {error !== null && <ProblemCard error={error} />}
    </Dialog>
  );
}

/** What an answer shows once. A server that repeats an answer, since the first one was lost, does not show it again. */
export const shownOnce = (secret: string | null | undefined): string => secret ?? "The first answer was lost, and it is not shown again. Make another.";

/** A secret that is shown this once. */
export function SecretDialog({
  open,
  onClose,
  title,
  text,
  secret,
  children,
}: {
  open: boolean;
  onClose: () => void;
  title: string;
  text: ReactNode;
  secret: string;
  children?: ReactNode;
}) {
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title={title}
      text={text}
      foot={<Button variant="primary" onClick={onClose}>I have kept it</Button>}
    >
      <Command text={secret} label="Copy secret" wrap />
      <Notice tone="warn" icon="warning">It is shown this once. Only a part that recognises it can be read later.</Notice>
      {children}
    </Dialog>
  );
}
