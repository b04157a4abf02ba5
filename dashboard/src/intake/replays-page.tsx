import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite } from "../api/queries";
import type { Replay } from "../api/types";
import { count, plural } from "../lib/format";
import { Ago, Button, ButtonLink, Empty, Id, PageHead, Panel, ProblemCard } from "../ui/basics";
import { ReplayBadge } from "../ui/status";
import { type Column, Table } from "../ui/table";

const reasons: Record<string, string> = {
  person: "stopped by a person",
  failures: "too many of its jobs failed",
  binding_gone: "its binding was removed",
  endpoint_gone: "its endpoint was removed",
};

/** How far a replay is, in words and as a bar. */
export function ReplayProgress({ replay }: { replay: Replay }) {
  const total = Math.max(replay.selected, replay.events);
  const parts = [
    `${count(replay.events)} of ${replay.selected_at_least ? "at least " : ""}${plural(total, "event")}`,
    `${plural(replay.jobs, "job")}: ${count(replay.done)} done`,
    replay.dead > 0 && `${count(replay.dead)} dead`,
    replay.skipped > 0 && `${count(replay.skipped)} left out`,
    replay.unfinished > 0 && `${count(replay.unfinished)} unfinished`,
    replay.reason && (reasons[replay.reason] ?? replay.reason),
  ].filter(Boolean);
  return (
    <div>
      {replay.state === "running" || replay.state === "paused" ? (
        <progress aria-label="Events looked at" value={replay.events} max={Math.max(total, 1)} style={{ width: "100%" }} />
      ) : null}
      <div className="secondary">{parts.join(" · ")}</div>
    </div>
  );
}

type Wish = "pause" | "resume" | "stop";

function Wishes({ replay }: { replay: Replay }) {
  const queryClient = useQueryClient();
  const wish = useMutation({
    mutationFn: (what: Wish) => {
      const params = { params: { path: { id: replay.id } } };
      switch (what) {
        case "pause":
          return unwrap(client.POST("/v1/replays/{id}/pause", params));
        case "resume":
          return unwrap(client.POST("/v1/replays/{id}/resume", params));
        case "stop":
          return unwrap(client.POST("/v1/replays/{id}/stop", params));
      }
    },
    onSettled: () => queryClient.invalidateQueries({ queryKey: ["replays"] }),
  });
  const button = (what: Wish, label: string, icon: "pause" | "play" | "cross") => (
    <Button small icon={icon} disabled={wish.isPending} aria-label={`${label} ${replay.id}`} onClick={() => wish.mutate(what)}>
      {label}
    </Button>
  );
  return (
    <span style={{ display: "inline-flex", gap: 6 }}>
      {replay.state === "running" && button("pause", "Pause", "pause")}
      {(replay.state === "paused" || (replay.state === "stopped" && replay.reason === "failures")) && button("resume", "Resume", "play")}
      {(replay.state === "running" || replay.state === "paused") && button("stop", "Stop", "cross")}
      {wish.error && <ProblemCard error={wish.error} />}
    </span>
  );
}

/** The latest replays, how far they are, and what can be done about them. */
export function ReplaysPage() {
  const replays = useQuery(queries.replays());
  const canWrite = useCanWrite("operator");
  const columns: Column<Replay>[] = [
    { key: "id", label: "Replay", card: "title", width: "150px", cell: ({ id }) => <Id value={id} /> },
    { key: "state", label: "State", card: "status", width: "120px", cell: ({ state }) => <ReplayBadge state={state} /> },
    { key: "progress", label: "Progress", card: "wide", cell: (replay) => <ReplayProgress replay={replay} /> },
    { key: "by", label: "By", width: "16%", cell: ({ by }) => <span title={by}>{by}</span> },
    { key: "begun", label: "Begun", width: "96px", end: true, cell: ({ created_at }) => <Ago at={created_at} /> },
    ...(canWrite
      ? [{ key: "wishes", label: "Actions", width: "190px", end: true, card: "wide", cardLabel: false, cell: (replay: Replay) => <Wishes replay={replay} /> } as const]
      : []),
  ];
  return (
    <>
      <PageHead
        title="Replays"
        sub="Events that are given to bindings, or to a sandbox, once more. The latest are listed; mainstay replay list has all."
        back={{ href: "/events", label: "Events" }}
      />
      <Panel label="Replays" padded={false}>
        {replays.error ? (
          <ProblemCard error={replays.error} onRetry={() => void replays.refetch()} />
        ) : replays.data?.items.length === 0 ? (
          <Empty icon="retry" title="Nothing was replayed yet" actions={<ButtonLink href="/events">To the events</ButtonLink>}>
            Narrow the events down, and replay these; or open one.
          </Empty>
        ) : (
          <Table label="Replays" columns={columns} rows={replays.data?.items} idOf={({ id }) => id} skeleton={6} />
        )}
      </Panel>
    </>
  );
}
