import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite } from "../api/queries";
import type { Line } from "../api/types";
import { plural } from "../lib/format";
import { Ago, Button, Panel, ProblemCard } from "../ui/basics";
import { Confirm } from "../ui/dialog";
import { type Column, Table } from "../ui/table";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";

/** The keys of an endpoint that wait behind a dead letter. Nothing at all where there is none. */
export function ParkedLines({ endpoint }: { endpoint: { id: string; name: string } }) {
  const queryClient = useQueryClient();
  const say = useToast();
  const canWrite = useCanWrite("operator");
  const lines = useQuery(queries.parkedLines(endpoint.id));
  const [passing, setPassing] = useState<Line | null>(null);
  const parked = lines.data?.items ?? [];
  if (lines.error) {
    return (
      <Panel title="Parked keys">
        <ProblemCard error={lines.error} onRetry={() => void lines.refetch()} what="The parked keys could not be read" />
      </Panel>
    );
  }
  if (parked.length === 0) return null;
  const columns: Column<Line>[] = [
    { key: "key", label: "Key", card: "title", cell: (line) => <code title={line.key}>{line.key}</code> },
    { key: "head", label: "Behind", width: "28%", cell: (line) => <Link href={`/jobs/${line.head_job_id}`}>the dead letter</Link> },
    { key: "since", label: "Since", width: "20%", cell: (line) => <Ago at={line.parked_at} /> },
    { key: "waiting", label: "Waiting", width: "14%", end: true, cell: (line) => line.waiting },
    ...(canWrite
      ? [
          {
            key: "actions",
            label: "Actions",
            width: "110px",
            end: true,
            cardLabel: false,
            cell: (line: Line) => (
              <span className={ui.rowActions}>
                <Button small variant="quiet" onClick={() => setPassing(line)} aria-label={`Release ${line.key}`}>Release…</Button>
              </span>
            ),
          },
        ]
      : []),
  ];
  return (
    <Panel title={`Parked keys, ${plural(parked.length, "line")}`} padded={false}>
      <Table rows={parked} columns={columns} idOf={(line) => line.id} label="Parked keys" />
      <Confirm
        open={passing !== null}
        onClose={() => setPassing(null)}
        title={`Let ${passing?.key ?? ""} go on`}
        action="Release"
        run={async () => {
          if (!passing) return;
          await unwrap(client.POST("/v1/lines/{id}/release", { params: { path: { id: passing.id } } }));
          void queryClient.invalidateQueries({ queryKey: ["lines"] });
          say(`${passing.key} goes on`);
        }}
      >
        Its next job runs, before the one that died. The dead letter stays one; run it again first if the order matters.
      </Confirm>
    </Panel>
  );
}
