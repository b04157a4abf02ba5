import { useEffect, useRef } from "react";
import { Link } from "wouter";
import { Empty, PageHead, Panel } from "../ui/basics";
import ui from "../ui/ui.module.css";
import { AuditTab } from "./audit-tab";
import { KeysTab } from "./keys-tab";
import { SystemTab } from "./system-tab";
import { TenantsTab } from "./tenants-tab";
import { UsersTab } from "./users-tab";
import { VaultTab } from "./vault-tab";

const tabs = [
  { path: "users", label: "Users", tab: UsersTab },
  { path: "keys", label: "API keys", tab: KeysTab },
  { path: "tenants", label: "Tenants", tab: TenantsTab },
  { path: "audit", label: "Audit log", tab: AuditTab },
  { path: "encryption", label: "Encryption", tab: VaultTab },
  { path: "system", label: "System", tab: SystemTab },
];

export function SettingsPage({ tab }: { tab: string }) {
  const chosen = tabs.find(({ path }) => path === tab);
  const Tab = chosen?.tab;
  // On a phone not all of them fit: the chosen one is in view.
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    nav.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [tab]);
  return (
    <>
      <PageHead title="Settings" documentTitle={chosen ? chosen.label : "Settings"} sub="Who may come in, what they have done, and how the system is." />
      <nav ref={nav} className={ui.segments} aria-label="Settings" style={{ marginBottom: 16 }}>
        {tabs.map(({ path, label }) => (
          <Link key={path} href={`/settings/${path}`} aria-current={path === tab ? "page" : undefined}>
            <span data-text={label}>{label}</span>
          </Link>
        ))}
      </nav>
      {Tab ? <Tab /> : <Panel label="No such page"><Empty icon="question" title="There are no such settings" /></Panel>}
    </>
  );
}
