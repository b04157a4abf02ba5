import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite } from "../api/queries";
import type { Binding } from "../api/types";
import { commands } from "../lib/commands";
import { setting } from "../lib/format";
import { Button, Empty, Panel, ProblemCard } from "../ui/basics";
import { Confirm } from "../ui/dialog";
import { EnabledBadge } from "../ui/status";
import { type Column, sub, Table } from "../ui/table";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";
import { BindingForm } from "./binding-form";

/** What its events must say, and how often that could not be told. */
function filterOf({ filter, filter_failed: failed }: Binding) {
  if (!filter) return "—";
  return (
    <>
      <code title={filter}>{filter}</code>
      {failed > 0 && ` failed for ${failed} in 24 h`}
    </>
  );
}

/** Which events it is for, and by what they keep their order. */
const typesOf = ({ type_pattern, ordering, expires_in_secs }: Binding) => (
  <>
    <code title={type_pattern}>{type_pattern}</code>
    {ordering && <span className={sub} title={`In order by ${ordering.key}`}>in order by {ordering.key}</span>}
    {expires_in_secs != null && <span className={sub}>expire after {setting(expires_in_secs * 1_000)}</span>}
  </>
);

/** The bindings of one source, or those that lead to one endpoint. */
export function Bindings({ source, endpoint }: { source?: { id: string; name: string }; endpoint?: { id: string; name: string } }) {
  const queryClient = useQueryClient();
  const say = useToast();
  const bindings = useQuery(queries.bindings());
  const canWrite = useCanWrite("admin");
  const [creating, setCreating] = useState(false);
  const [changing, setChanging] = useState<Binding | null>(null);
  const [removing, setRemoving] = useState<Binding | null>(null);
  const [error, setError] = useState<unknown>(null);
  const mine = bindings.data?.items.filter(
    (binding) =>
      (source === undefined || binding.source_id === source.id) &&
      (endpoint === undefined || (binding.handler.kind === "endpoint" && binding.handler.endpoint_id === endpoint.id)),
  );
  const reload = () => queryClient.invalidateQueries({ queryKey: ["bindings"] });
  const toggle = (binding: Binding) => {
    setError(null);
    unwrap(client.PATCH("/v1/bindings/{id}", { params: { path: { id: binding.id } }, body: { enabled: !binding.enabled } })).then(() => {
      say(binding.enabled ? `${binding.name} makes no more jobs` : `${binding.name} makes jobs again`);
      void reload();
    }, setError);
  };
  const columns: Column<Binding>[] = [
    { key: "name", label: "Name", card: "title", width: "21%", cell: (binding) => <strong title={binding.name}>{binding.name}</strong> },
    { key: "type", label: "Type", width: "20%", cell: typesOf },
    { key: "filter", label: "Filter", width: "11%", cell: filterOf },
    source
      ? {
          key: "handler",
          label: "Goes to",
          cell: ({ handler }) =>
            handler.kind === "endpoint" ? (
              <Link href={`/endpoints/${handler.endpoint_id}`} title={handler.endpoint_name}>{handler.endpoint_name}</Link>
            ) : (
              <code title={handler.name}>{handler.name}</code>
            ),
        }
      : { key: "source", label: "From", cell: (binding) => <Link href={`/sources/${binding.source_id}`}>{binding.source_name}</Link> },
    { key: "status", label: "Status", width: "112px", card: "status", cell: (binding) => <EnabledBadge enabled={binding.enabled} /> },
    ...(canWrite
      ? [
          {
            key: "actions",
            label: "Actions",
            width: "160px",
            end: true,
            cardLabel: false,
            cell: (binding: Binding) => (
              <span className={ui.rowActions}>
                <Button small variant="quiet" icon="settings" aria-label={`Change ${binding.name}`} title="Change" onClick={() => setChanging(binding)} />
                <Button small variant="quiet" onClick={() => toggle(binding)} aria-label={`${binding.enabled ? "Disable" : "Enable"} ${binding.name}`}>
                  {binding.enabled ? "Disable" : "Enable"}
                </Button>
                <Button small variant="quiet" icon="trash" aria-label={`Delete ${binding.name}`} title="Delete" onClick={() => setRemoving(binding)} />
              </span>
            ),
          },
        ]
      : []),
  ];
  return (
    <Panel
      title="Bindings"
      padded={false}
      actions={canWrite && <Button small icon="plus" onClick={() => setCreating(true)}>New binding</Button>}
    >
      {error !== null && <ProblemCard error={error} what="The binding was not changed" />}
      {bindings.data === undefined && bindings.error ? (
        <ProblemCard error={bindings.error} onRetry={() => void bindings.refetch()} what="Bindings could not be read" />
      ) : mine?.length === 0 ? (
        <Empty icon="jobs" title="No bindings" command={commands.bindingCreate(source?.name, endpoint?.name)}>
          {source
            ? "Events of this source are kept, but nothing is done with them yet. A binding turns them into jobs."
            : "No source's events go to this endpoint yet. A binding says which do."}
        </Empty>
      ) : (
        <Table label="Bindings" columns={columns} rows={mine} idOf={(binding) => binding.id} skeleton={2} />
      )}
      {creating && <BindingForm source={source} endpoint={endpoint} onClose={() => setCreating(false)} />}
      {changing && <BindingForm binding={changing} onClose={() => setChanging(null)} />}
      {removing && (
        <Confirm
          open
          onClose={() => setRemoving(null)}
          title={`Delete the binding ${removing.name}`}
          action="Delete binding"
          run={async () => {
            await unwrap(client.DELETE("/v1/bindings/{id}", { params: { path: { id: removing.id } } }));
            say(`${removing.name} is deleted`);
            await reload();
          }}
        >
          New events make no more jobs through it. Jobs that it has made go on.
        </Confirm>
      )}
    </Panel>
  );
}
