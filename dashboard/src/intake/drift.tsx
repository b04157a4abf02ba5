import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { client, unwrap } from "../api/client";
import { queries } from "../api/queries";
import type { Drift as Finding, Source } from "../api/types";
import { Ago, Button, Empty, Panel, ProblemCard, Waits } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Icon } from "../ui/icon";
import { useToast } from "../ui/toast";

/** What is new, in words. */
export function what({ kind, before, after }: Pick<Finding, "kind" | "before" | "after">): string {
  switch (kind) {
    case "new_type":
      return "a new type of event";
    case "new_field":
      return `a new field: ${after}`;
    case "field_type":
      return `was ${before}, is ${after}`;
    case "api_version":
      return `API version ${before}, now ${after}`;
  }
}

/** What a source's events began to say that they never said before. */
export function Drift({ source, canWrite }: { source: Source; canWrite: boolean }) {
  const { data, error, refetch } = useQuery(queries.drift(source.id));
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState<unknown>(null);
  const queryClient = useQueryClient();
  const say = useToast();
  const acknowledge = async (ids?: string[]) => {
    setBusy(true);
    setFailed(null);
    try {
      const { acknowledged } = await unwrap(
        client.POST("/v1/sources/{id}/drift/acknowledge", { params: { path: { id: source.id } }, body: ids ? { ids } : {} }),
      );
      say(acknowledged === 1 ? "It is acknowledged" : `${acknowledged} are acknowledged`);
      await queryClient.invalidateQueries({ queryKey: queries.drift(source.id).queryKey });
    } catch (error) {
      setFailed(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Panel
      title="New in its events"
      padded={false}
      actions={canWrite && data !== undefined && data.items.length > 1 && <Button small disabled={busy} onClick={() => void acknowledge()}>Acknowledge all</Button>}
    >
      {failed !== null && <ProblemCard error={failed} />}
      {error ? (
        <ProblemCard error={error} onRetry={() => void refetch()} what="What is new could not be read" />
      ) : data === undefined ? (
        <Waits height={153} />
      ) : data.items.length === 0 ? (
        <Empty icon="check" title="Nothing new">New types and fields are shown here once a day of events, and 20 of each type, have been learned from.</Empty>
      ) : (
        <ul className={detail.secrets}>
          {data.items.map((finding) => (
            <li key={finding.id}>
              <Icon name="events" />
              <span>
                <code>{finding.path || finding.event_type}</code>
                <small>
                  {what(finding)}, in <Link href={`/events/${finding.event_id}`}>{finding.event_type}</Link>, found <Ago at={finding.found_at} />
                </small>
              </span>
              {canWrite && (
                <Button small disabled={busy} aria-label={`Acknowledge ${finding.path || finding.event_type}`} onClick={() => void acknowledge([finding.id])}>
                  Acknowledge
                </Button>
              )}
            </li>
          ))}
          {data.next_cursor && <li><span className="muted">There are more: mainstay source drift {source.name}</span></li>}
        </ul>
      )}
    </Panel>
  );
}
