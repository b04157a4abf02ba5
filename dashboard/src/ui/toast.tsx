import { createContext, type ReactNode, useCallback, useContext, useRef, useState } from "react";
import { Icon } from "./icon";
import css from "./ui.module.css";

const ToastContext = createContext<(text: string) => void>(() => {});
export const useToast = () => useContext(ToastContext);

/** Says what has been done. What went wrong is said where it went wrong, and stays there. */
export function ToastProvider({ children }: { children: ReactNode }) {
  const [toasts, setToasts] = useState<{ id: number; text: string }[]>([]);
  const nextId = useRef(0);
  const say = useCallback((text: string) => {
    const id = nextId.current++;
    setToasts((before) => [...before.slice(-2), { id, text }]);
    setTimeout(() => setToasts((before) => before.filter((toast) => toast.id !== id)), 5_000);
  }, []);
  return (
    <ToastContext value={say}>
      {children}
      <div className={css.toasts} role="status" aria-live="polite">
        {toasts.map((toast) => (
          <div key={toast.id} className={css.toast}>
            <Icon name="check" />
            {toast.text}
          </div>
        ))}
      </div>
    </ToastContext>
  );
}
