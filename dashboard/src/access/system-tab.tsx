import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { queries, useSession } from "../api/queries";
import { absolute, duration, span, words } from "../lib/format";
import { Facts, Panel, ProblemCard, Skeleton } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Badge, type Look } from "../ui/status";
import { Nodes } from "./nodes";

const healthLook = (status: string): Look => {
  if (["ok", "healthy", "pass", "up"].includes(status)) return { tone: "ok", icon: "check", label: "Healthy" };
  if (["degraded", "warn", "warning"].includes(status)) return { tone: "warn", icon: "warning", label: "Degraded" };
  return { tone: "bad", icon: "cross", label: words(status) };
};

/** What a check measured, in words as far as its name gives the unit away. */
function factsOf(check: Record<string, unknown>): [string, ReactNode][] {
  return Object.entries(check)
    .filter(([name, value]) => name !== "status" && (value === null || typeof value !== "object"))
    .map(([name, value]) => {
      if (typeof value === "number" && name.endsWith("_ms")) return [words(name.slice(0, -3)), duration(value)];
      if (typeof value === "number" && name.endsWith("_secs")) return [words(name.slice(0, -5)), span(value)];
      return [words(name), value === null ? "–" : String(value)];
    });
}

export function SystemTab() {
  const health = useQuery(queries.health());
  const session = useSession();
  return (
    <div className={detail.stack}>
      <div className={detail.columns}>
        <Panel title="This server">
          <Facts
            items={[
              ["Version", session?.version ?? <Skeleton width={80} />],
              ["Database", session ? (session.database === "postgres" ? "PostgreSQL" : "SQLite") : <Skeleton width={80} />],
              ["Up for", health.data ? span(health.data.uptime_secs) : <Skeleton width={80} />],
              ["Its clock", health.data ? absolute(health.data.timestamp) : <Skeleton width={140} />],
              ["API", <a key="api" href="/v1/openapi.json">OpenAPI document</a>],
              ["Metrics", <a key="metrics" href="/metrics">for Prometheus</a>],
            ]}
          />
        </Panel>
        <Panel title="Health" actions={health.data && <Badge look={healthLook(health.data.status)} />}>
          {health.data === undefined && health.error ? (
            <ProblemCard error={health.error} onRetry={() => void health.refetch()} what="Health could not be read" />
          ) : health.data === undefined ? (
            <div style={{ height: 220 }}><Skeleton width="60%" /></div>
          ) : (
            <div className={detail.stack}>
              {Object.entries(health.data.checks).map(([name, check]) => (
                <div key={name}>
                  <div className={detail.danger}>
                    <h3>{words(name)}</h3>
                    <Badge look={healthLook(check.status)} />
                  </div>
                  <Facts items={factsOf(check)} />
                </div>
              ))}
            </div>
          )}
        </Panel>
      </div>
      <Nodes />
    </div>
  );
}
