import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite } from "../api/queries";
import type { BreakerChange, DependencyBreaker } from "../api/types";
import { absolute, plural, words } from "../lib/format";
import { Ago, Button, Empty, Notice, ProblemCard } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Dialog } from "../ui/dialog";
import { Field, formClass, Input, Select, useSubmit } from "../ui/form";
import { breakerLooks, Badge } from "../ui/status";
import { type Column, Table } from "../ui/table";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";

const HOUR_MS = 3_600_000;
const spans = [
  { value: String(HOUR_MS / 4), label: "for a quarter of an hour" },
  { value: String(HOUR_MS), label: "for an hour" },
  { value: String(24 * HOUR_MS), label: "for a day" },
];
const endless = { value: "", label: "until somebody says otherwise" };

/** Everything that shows a breaker. */
function useBreakerChanged() {
  const queryClient = useQueryClient();
  return () => {
    for (const queryKey of [["breakers"], ["endpoints"], ["endpoint"]]) void queryClient.invalidateQueries({ queryKey });
  };
}

/** Holds a breaker open or closed, with a reason. */
function Hold({ breaker, wish, onClose }: { breaker: DependencyBreaker; wish: "open" | "close"; onClose: () => void }) {
  const say = useToast();
  const changed = useBreakerChanged();
  const [reason, setReason] = useState("");
  const [span, setSpan] = useState(String(HOUR_MS));
  const form = useSubmit(async () => {
    const params = { path: { name: breaker.dependency } };
    const until = span === "" ? null : new Date(Date.now() + Number(span)).toISOString();
    if (wish === "open") {
      await unwrap(client.POST("/v1/breakers/{name}/open", { params, body: { reason: reason.trim(), until } }));
    } else if (until !== null) {
      await unwrap(client.POST("/v1/breakers/{name}/close", { params, body: { reason: reason.trim(), until } }));
    }
    changed();
    say(wish === "open" ? `Nothing is sent to ${breaker.name}` : `Everything is sent to ${breaker.name}`);
    onClose();
  });
  const text =
    wish === "open"
      ? "Nothing is sent. What comes waits, none is lost, and no try is used up."
      : "Everything is sent, whatever is answered. Nothing protects it meanwhile.";
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title={wish === "open" ? `Hold ${breaker.name} open` : `Hold ${breaker.name} closed`}
      text={text}
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant={wish === "open" ? "dangerFill" : "primary"} disabled={form.busy}>
            {wish === "open" ? "Hold open" : "Hold closed"}
          </Button>
        </>
      }
    >
      <div className={formClass}>
        <Field label="Reason" error={form.errorAt("reason")} hint="Shown beside it and in its history.">
          <Input value={reason} onChange={setReason} maxLength={500} autoComplete="off" />
        </Field>
        <Field label="How long" error={form.errorAt("until")}>
          <Select value={span} onChange={setSpan} options={wish === "open" ? [...spans, endless] : spans} />
        </Field>
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}

/** What a person may do about a breaker, and what one has said of it. */
export function Holding({ breaker }: { breaker: DependencyBreaker }) {
  const canWrite = useCanWrite("operator");
  const changed = useBreakerChanged();
  const [wish, setWish] = useState<"open" | "close" | null>(null);
  const auto = useMutation({
    mutationFn: () => unwrap(client.POST("/v1/breakers/{name}/auto", { params: { path: { name: breaker.dependency } } })),
    onSettled: changed,
  });
  const { forced } = breaker;
  return (
    <div className={detail.stack}>
      {forced && (
        <Notice tone="warn" icon="pause">
          Held {words(breaker.state).toLowerCase()} by {forced.by} {forced.until ? `until ${absolute(forced.until)}` : "until somebody says otherwise"}: {forced.reason}
        </Notice>
      )}
      {canWrite && (
        <span className={ui.actions}>
          {!(forced && breaker.state === "open") && <Button small icon="pause" onClick={() => setWish("open")}>Hold open…</Button>}
          {!(forced && breaker.state === "closed") && <Button small icon="play" onClick={() => setWish("close")}>Hold closed…</Button>}
          {forced && <Button small variant="primary" disabled={auto.isPending} onClick={() => auto.mutate()}>Back to its own rule</Button>}
        </span>
      )}
      {auto.error && <ProblemCard error={auto.error} />}
      {wish && <Hold breaker={breaker} wish={wish} onClose={() => setWish(null)} />}
    </div>
  );
}

const whys: Record<BreakerChange["why"], (change: BreakerChange) => string> = {
  failures: ({ count }) => `${plural(count, "failure")} in a row`,
  failed_share: ({ count, calls }) => `${count} of ${plural(calls, "call")} failed`,
  slow_share: ({ count, calls }) => `${count} of ${plural(calls, "call")} were slow`,
  pause_over: () => "its pause was over",
  probe_failed: () => "a probe failed",
  probe_slow: () => "a probe was slow",
  probes_succeeded: ({ count }) => `${plural(count, "probe")} succeeded`,
  forced_open: ({ by }) => `held open by ${by}`,
  forced_closed: ({ by }) => `held closed by ${by}`,
  automatic: ({ by }) => `given back to its own rule by ${by}`,
  forced_over: () => "the time it was held for was over",
};

/** How a breaker changed, the last first. */
export function History({ dependency }: { dependency: string }) {
  const history = useQuery(queries.breakerHistory(dependency));
  const columns: Column<BreakerChange>[] = [
    { key: "to", label: "Became", card: "status", width: "124px", cell: ({ to }) => <Badge look={{ ...breakerLooks[to], label: words(to) }} /> },
    { key: "why", label: "Because", card: "title", cell: (change) => whys[change.why]?.(change) ?? words(change.why) },
    { key: "said", label: "What was said", width: "34%", cell: ({ reason, error }) => <span title={reason ?? error ?? ""}>{reason ?? error ?? "–"}</span> },
    { key: "at", label: "When", width: "104px", end: true, cell: ({ at }) => <Ago at={at} /> },
  ];
  if (history.error) return <ProblemCard error={history.error} onRetry={() => void history.refetch()} what="Its history could not be read" />;
  if (history.data?.items.length === 0) return <Empty icon="check" title="It has not changed">Or not for as long as events are kept.</Empty>;
  return <Table label="History" columns={columns} rows={history.data?.items} idOf={({ id }) => id} skeleton={3} />;
}
