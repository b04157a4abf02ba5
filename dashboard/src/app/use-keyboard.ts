import { useEffect, useRef } from "react";
import { isTyping, Keys, moveInList } from "../lib/keyboard";

/** The keys of the whole page. */
export function useKeyboard(navigate: (to: string) => void, onHelp: () => void): void {
  const latest = useRef({ navigate, onHelp });
  latest.current = { navigate, onHelp };
  useEffect(() => {
    const keys = new Keys();
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (isTyping(event.target)) {
        if (event.key === "Escape") (event.target as HTMLElement).blur();
        return;
      }
      if (document.querySelector("[role=dialog],[role=alertdialog],[role=menu]")) return;
      const intent = keys.press(event.key, event.timeStamp);
      if (intent === null) return;
      if (intent.type === "go") {
        event.preventDefault();
        latest.current.navigate(intent.path);
        return;
      }
      switch (intent.key) {
        case "/": {
          const search = document.querySelector<HTMLInputElement>("main [data-search]");
          if (search === null) return;
          event.preventDefault();
          search.focus();
          search.select();
          return;
        }
        case "j":
        case "k":
          if (moveInList(intent.key === "j" ? 1 : -1)) event.preventDefault();
          return;
        case "x":
          document.activeElement?.closest("[data-row]")?.querySelector<HTMLInputElement>("[data-row-check]")?.click();
          return;
        case ".":
          document.querySelector<HTMLButtonElement>("main [data-show-fresh]")?.click();
          return;
        case "?":
          event.preventDefault();
          latest.current.onHelp();
      }
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
}
