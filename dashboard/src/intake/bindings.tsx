import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { client, unwrap } from "../api/client";
import { queries, useCanWrite } from "../api/queries";
import type { Binding } from "../api/types";
import { commands } from "../lib/commands";
import { Button, Empty, Panel, ProblemCard } from "../ui/basics";
import { Confirm, Dialog } from "../ui/dialog";
import { Field, formClass, Input, Select, useSubmit } from "../ui/form";
import { EnabledBadge } from "../ui/status";
import { type Column, Table } from "../ui/table";
import { useToast } from "../ui/toast";
import ui from "../ui/ui.module.css";

const BUILTIN = "builtin:";
/** Handlers that the server brings. */
const builtins = ["billing.record"];

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

/** The bindings of one source, or those that lead to one endpoint. */
export function Bindings({ source, endpoint }: { source?: { id: string; name: string }; endpoint?: { id: string; name: string } }) {
  const queryClient = useQueryClient();
  const say = useToast();
  const bindings = useQuery(queries.bindings());
  const canWrite = useCanWrite("admin");
  const [creating, setCreating] = useState(false);
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
    { key: "name", label: "Name", card: "title", width: "17%", cell: (binding) => <strong title={binding.name}>{binding.name}</strong> },
    { key: "type", label: "Type", width: "17%", cell: (binding) => <code title={binding.type_pattern}>{binding.type_pattern}</code> },
    { key: "filter", label: "Filter", width: "12%", cell: filterOf },
    source
      ? {
          key: "handler",
          label: "Goes to",
          cell: ({ handler }) =>
            handler.kind === "endpoint" ? (
              <Link href={`/endpoints/${handler.endpoint_id}`}>{handler.endpoint_name}</Link>
            ) : (
              <code>{handler.name}</code>
            ),
        }
      : { key: "source", label: "From", cell: (binding) => <Link href={`/sources/${binding.source_id}`}>{binding.source_name}</Link> },
    { key: "status", label: "Status", width: "118px", card: "status", cell: (binding) => <EnabledBadge enabled={binding.enabled} /> },
    ...(canWrite
      ? [
          {
            key: "actions",
            label: "Actions",
            width: "140px",
            end: true,
            cardLabel: false,
            cell: (binding: Binding) => (
              <span className={ui.rowActions}>
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
      {creating && <CreateBinding source={source} endpoint={endpoint} onClose={() => setCreating(false)} />}
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

function CreateBinding({
  source,
  endpoint,
  onClose,
}: {
  source?: { id: string; name: string };
  endpoint?: { id: string; name: string };
  onClose: () => void;
}) {
  const queryClient = useQueryClient();
  const say = useToast();
  const sources = useQuery(queries.sources()).data?.items ?? [];
  const endpoints = useQuery(queries.endpoints()).data?.items ?? [];
  const [sourceId, setSourceId] = useState(source?.id ?? "");
  const [handler, setHandler] = useState(endpoint?.id ?? "");
  const [pattern, setPattern] = useState("*");
  const [filter, setFilter] = useState("");
  const [name, setName] = useState("");
  const chosenSource = sourceId || sources[0]?.id || "";
  const chosenHandler = handler || endpoints[0]?.id || BUILTIN + builtins[0];
  const form = useSubmit(async () => {
    const builtin = chosenHandler.startsWith(BUILTIN) ? chosenHandler.slice(BUILTIN.length) : null;
    const made = await unwrap(
      client.POST("/v1/bindings", {
        body: {
          name: name.trim() || undefined,
          source_id: chosenSource,
          type_pattern: pattern.trim(),
          filter: filter.trim() || undefined,
          ...(builtin === null ? { endpoint_id: chosenHandler } : { handler: { kind: "builtin" as const, name: builtin } }),
        },
      }),
    );
    await queryClient.invalidateQueries({ queryKey: ["bindings"] });
    say(`${made.name} makes jobs from now on`);
    onClose();
  });
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title="New binding"
      text="Every new event that matches makes one job, in the same commit."
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy || pattern.trim() === "" || chosenSource === ""}>
            {form.busy ? "Creating…" : "Create binding"}
          </Button>
        </>
      }
    >
      <div className={formClass}>
        {!source && (
          <Field label="From source" error={form.errorAt("source_id")}>
            <Select value={chosenSource} onChange={setSourceId} options={sources.map(({ id, name: label }) => ({ value: id, label }))} />
          </Field>
        )}
        <Field label="Event types" hint="Exact, or a beginning with a star (invoice.*), or * for all. Several, separated by commas." error={form.errorAt("type_pattern")}>
          <Input value={pattern} onChange={setPattern} autoComplete="off" autoCapitalize="none" />
        </Field>
        <Field label="Filter" hint="What these events must say, e.g. body.data.object.amount > 1000. Left empty: nothing." error={form.errorAt("filter")}>
          <Input value={filter} onChange={setFilter} autoComplete="off" autoCapitalize="none" />
        </Field>
        {!endpoint && (
          <Field label="Goes to" error={form.errorAt("endpoint_id") ?? form.errorAt("handler")}>
            <Select
              value={chosenHandler}
              onChange={setHandler}
              options={[
                ...endpoints.map(({ id, name: label }) => ({ value: id, label: `Endpoint ${label}` })),
                ...builtins.map((each) => ({ value: BUILTIN + each, label: `Built in: ${each}` })),
              ]}
            />
          </Field>
        )}
        <Field label="Name" hint="For people. Left empty, one is made from the above." error={form.errorAt("name")}>
          <Input value={name} onChange={setName} autoComplete="off" />
        </Field>
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}
