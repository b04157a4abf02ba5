import { Menu } from "@base-ui/react/menu";
import { useRef, useState } from "react";
import { useSession } from "../api/queries";
import { chooseTheme, storedTheme, type Theme } from "../lib/theme";
import { Icon, type IconName } from "../ui/icon";
import ui from "../ui/ui.module.css";
import css from "./shell.module.css";

const themes: { value: Theme; label: string; icon: IconName }[] = [
  { value: "system", label: "As the system", icon: "screen" },
  { value: "light", label: "Light", icon: "sun" },
  { value: "dark", label: "Dark", icon: "moon" },
];

/** Who is signed in, how the page looks, the keys, and the way out. */
export function Who({ compact: small, onHelp }: { compact?: boolean; onHelp: () => void }) {
  const session = useSession();
  const [theme, setTheme] = useState<Theme>(storedTheme);
  const signOut = useRef<HTMLFormElement>(null);
  const landmark = useRef<HTMLDivElement>(null);
  const name = session?.user?.email ?? session?.key?.name ?? "";
  return (
    <>
      {/* The menu stays inside its landmark, where a screen reader expects it. */}
      <div ref={landmark} />
      <Menu.Root>
        <Menu.Trigger className={css.who} aria-label={`Account and appearance${name ? `: ${name}` : ""}`}>
          <Icon name="user" />
          {!small && <span className="truncate">{name}</span>}
          {!small && <Icon name="more" />}
        </Menu.Trigger>
        <Menu.Portal container={landmark}>
          <Menu.Positioner positionMethod="fixed" side={small ? "bottom" : "top"} align={small ? "end" : "start"} sideOffset={6} style={{ zIndex: 40 }}>
            <Menu.Popup className={ui.menu}>
              <div className={ui.menuLabel}>
                {name}
                {session && <> · {session.role}</>}
              </div>
              <div className={ui.menuLine} />
              <Menu.RadioGroup
                value={theme}
                aria-label="Appearance"
                onValueChange={(next: Theme) => {
                  setTheme(next);
                  chooseTheme(next);
                }}
              >
                {themes.map((each) => (
                  <Menu.RadioItem key={each.value} value={each.value} className={ui.menuItem} closeOnClick>
                    <Icon name={each.icon} />
                    {each.label}
                    {each.value === theme && <Icon name="check" />}
                  </Menu.RadioItem>
                ))}
              </Menu.RadioGroup>
              <div className={ui.menuLine} />
              <Menu.Item className={ui.menuItem} onClick={onHelp}>
                <Icon name="question" />
                Keyboard
              </Menu.Item>
              {session?.user && (
                <Menu.Item className={ui.menuItem} onClick={() => signOut.current?.submit()}>
                  <Icon name="signout" />
                  Sign out
                </Menu.Item>
              )}
            </Menu.Popup>
          </Menu.Positioner>
        </Menu.Portal>
      </Menu.Root>
      <form ref={signOut} method="post" action="/signout" hidden />
    </>
  );
}
