import { Menu } from "@base-ui/react/menu";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { refreshAll, useLive, useTick } from "../api/live-provider";
import { queries, useSession } from "../api/queries";
import type { Connection } from "../api/stream";
import { compact, plural } from "../lib/format";
import { help } from "../lib/keyboard";
import { applyTheme, storedTheme } from "../lib/theme";
import { Button } from "../ui/basics";
import { Dialog } from "../ui/dialog";
import { Icon, type IconName } from "../ui/icon";
import ui from "../ui/ui.module.css";
import { Who } from "./account-menu";
import { arrive } from "./arrival";
import { Mark } from "./mark";
import css from "./shell.module.css";
import { useKeyboard } from "./use-keyboard";

interface Place {
  path: string;
  label: string;
  short?: string;
  icon: IconName;
  /** Pages that are reached from there, and belong to it. */
  below?: string[];
}

const places: Place[] = [
  { path: "/", label: "Overview", icon: "overview" },
  { path: "/events", label: "Events", icon: "events", below: ["/timeline", "/replays"] },
  { path: "/jobs", label: "Jobs", icon: "jobs", below: ["/queues"] },
  { path: "/dead-letters", label: "Dead letters", short: "Dead", icon: "dead" },
  { path: "/schedules", label: "Schedules", icon: "calendar" },
  { path: "/sagas", label: "Sagas", icon: "saga", below: ["/saga-runs"] },
  { path: "/sources", label: "Sources", icon: "sources", below: ["/receipts"] },
  { path: "/endpoints", label: "Endpoints", icon: "endpoints" },
  { path: "/settings", label: "Settings", icon: "settings" },
];
const inTabs = 4;

const isAt = ({ path, below = [] }: Place, location: string): boolean =>
  path === "/" ? location === "/" : [path, ...below].some((each) => location === each || location.startsWith(`${each}/`));

export function Shell({ children }: { children: ReactNode }) {
  const [location, navigate] = useLocation();
  const [helping, setHelping] = useState(false);
  const session = useSession();
  useKeyboard(navigate, () => setHelping(true));
  useArrival(location);

  return (
    <>
      <a className={css.skip} href="#main">Skip to content</a>
      <div className={css.shell}>
        <header className={css.side}>
          <Link href="/" className={css.brand}><Mark /><span>Mainstay</span></Link>
          <nav className={css.nav} aria-label="Pages">
            {places.map((place) => (
              <Link key={place.path} href={place.path} aria-current={isAt(place, location) ? "page" : undefined} title={place.label}>
                <Icon name={place.icon} />
                <span className={css.navLabel}>{place.label}</span>
                {place.path === "/dead-letters" && <DeadCount />}
              </Link>
            ))}
          </nav>
          <div className={css.sideFoot}>
            <LiveState />
            <Who onHelp={() => setHelping(true)} />
          </div>
        </header>
        <div className={css.content}>
          <header className={css.top}>
            <Link href="/" className={css.brand}><Mark /><span>Mainstay</span></Link>
            <LiveState />
            <Who compact onHelp={() => setHelping(true)} />
          </header>
          {session?.demo && (
            <aside className={css.demo} aria-label="Demo">
              <Icon name="info" size={14} />
              This is a demo with generated traffic. Nothing here is yours.
            </aside>
          )}
          <Stale />
          <main id="main" className={css.main} tabIndex={-1}>{children}</main>
        </div>
      </div>
      <nav className={css.tabs} aria-label="Pages, compact">
        {places.slice(0, inTabs).map((place) => (
          <Link key={place.path} href={place.path} aria-current={isAt(place, location) ? "page" : undefined}>
            <Icon name={place.icon} size={18} />
            {place.short ?? place.label}
            {place.path === "/dead-letters" && <DeadCount />}
          </Link>
        ))}
        <MoreTab location={location} navigate={navigate} />
      </nav>
      <Help open={helping} onClose={() => setHelping(false)} />
    </>
  );
}

function DeadCount() {
  const tick = useTick();
  // Before the first tick, what the overview has loaded.
  const loaded = useQuery({ ...queries.overview("1h"), enabled: false }).data?.dead_letters;
  const dead = tick?.dead_letters ?? loaded ?? 0;
  if (dead === 0) return null;
  return (
    <span className={css.navCount} title={plural(dead, "dead letter")}>
      {compact(dead)}
      <span className="visually-hidden"> dead letters</span>
    </span>
  );
}

const connectionWords: Record<Connection, string> = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  offline: "Offline",
};

function LiveState() {
  const { connection } = useLive();
  return (
    <div className={css.live} data-state={connection} role="status">
      <span className={css.dot} aria-hidden="true" />
      <span>{connectionWords[connection]}</span>
    </div>
  );
}

/** While the page cannot hear the server, it says so where it cannot be missed. */
function Stale() {
  const { connection, retry } = useLive();
  const queryClient = useQueryClient();
  if (connection !== "offline") return null;
  return (
    <div className={css.stale} role="alert">
      <Icon name="broken" />
      <span>No live connection to Mainstay. What you see may be old.</span>
      <Button
        small
        icon="retry"
        onClick={() => {
          retry();
          refreshAll(queryClient);
        }}
      >
        Try now
      </Button>
    </div>
  );
}

function MoreTab({ location, navigate }: { location: string; navigate: (to: string) => void }) {
  const rest = places.slice(inTabs);
  const landmark = useRef<HTMLDivElement>(null);
  return (
    <Menu.Root>
      <div ref={landmark} className={css.portal} />
      <Menu.Trigger aria-current={rest.some((place) => isAt(place, location)) ? "true" : undefined}>
        <Icon name="more" size={18} />
        More
      </Menu.Trigger>
      <Menu.Portal container={landmark}>
        <Menu.Positioner positionMethod="fixed" side="top" align="end" sideOffset={8} style={{ zIndex: 40 }}>
          <Menu.Popup className={ui.menu}>
            {rest.map((place) => (
              <Menu.Item key={place.path} className={ui.menuItem} onClick={() => navigate(place.path)}>
                <Icon name={place.icon} />
                {place.label}
              </Menu.Item>
            ))}
          </Menu.Popup>
        </Menu.Positioner>
      </Menu.Portal>
    </Menu.Root>
  );
}

function Help({ open, onClose }: { open: boolean; onClose: () => void }) {
  return (
    <Dialog open={open} onClose={onClose} title="Keyboard" foot={<Button onClick={onClose}>Close</Button>}>
      <dl className={css.helpList}>
        {help.map(({ keys, does }) => (
          <div key={keys}>
            <dt>{keys.split(" ").map((key) => <kbd key={key}>{key}</kbd>)}</dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

/** A new page begins at its top and is announced; going back keeps the browser's own position. */
function useArrival(location: string): void {
  const first = useRef(true);
  const popped = useRef(false);
  useEffect(() => {
    const onPop = () => {
      popped.current = true;
    };
    window.addEventListener("popstate", onPop);
    return () => window.removeEventListener("popstate", onPop);
  }, []);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      applyTheme(storedTheme());
      return;
    }
    if (!popped.current) window.scrollTo(0, 0);
    popped.current = false;
    arrive();
  }, [location]);
}
