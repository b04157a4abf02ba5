import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries, useCanWrite } from "../api/queries";
import type { Endpoint } from "../api/types";
import { queueOfEndpoint } from "../lib/queue";
import { Button, ButtonLink, Facts, notFound, Panel, ProblemCard, Waits } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { QueueFlowBadge } from "../ui/status";
import ui from "../ui/ui.module.css";
import { QueueFlowButtons } from "./queue-flow";
import { placesWords, rateWords } from "./queue-limits";
import { QueueLimitsForm } from "./queue-limits-form";

/** The endpoint's own queue: how much of it may run, and whether it runs. */
export function EndpointQueue({ endpoint }: { endpoint: Endpoint }) {
  const name = queueOfEndpoint(endpoint.id);
  const { data: queue, error, refetch } = useQuery(queries.queue(name));
  const canLimit = useCanWrite("admin");
  const canOperate = useCanWrite("operator");
  const [limiting, setLimiting] = useState(false);
  const [failed, setFailed] = useState<unknown>(null);
  if (notFound(error)) return null;
  return (
    <Panel
      title="Queue"
      actions={queue && canLimit && <Button small icon="settings" onClick={() => setLimiting(true)}>Limits…</Button>}
    >
      {failed !== null && <ProblemCard error={failed} what="The queue was not changed" />}
      {error && !queue ? (
        <ProblemCard error={error} onRetry={() => void refetch()} what="The queue could not be read" />
      ) : queue === undefined ? (
        <Waits height={194} />
      ) : (
        <div className={detail.stack}>
          <Facts
            items={[
              ["Flow", <QueueFlowBadge key="flow" flow={queue.flow} />],
              ["The queue", placesWords(queue.limits.max_in_flight)],
              ["Its rate", rateWords(queue.limits.rate)],
              ["Each tenant", placesWords(queue.limits.tenant_max_in_flight)],
              ["A tenant’s rate", rateWords(queue.limits.tenant_rate)],
            ]}
          />
          <div className={ui.actions}>
            {canOperate && <QueueFlowButtons queue={{ ...queue, endpoint_name: endpoint.name }} onError={setFailed} />}
            <ButtonLink href={`/queues?queue=${encodeURIComponent(name)}`} small>Who uses it</ButtonLink>
          </div>
        </div>
      )}
      {limiting && queue && <QueueLimitsForm queue={{ ...queue, endpoint_name: endpoint.name }} onClose={() => setLimiting(false)} />}
    </Panel>
  );
}
