// One clock for all relative times on the page.
import { useSyncExternalStore } from "react";

let now = Date.now();
let timer: ReturnType<typeof setInterval> | undefined;
const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    if (document.hidden) return;
    now = Date.now();
    for (const each of listeners) each();
  }, 1000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0 && timer !== undefined) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** Now, changing once a second; `every` makes it change less often where less is enough. */
export function useNow(everySecs = 1): number {
  return useSyncExternalStore(subscribe, () => {
    const step = everySecs * 1000;
    return everySecs === 1 ? now : Math.floor(now / step) * step;
  });
}
