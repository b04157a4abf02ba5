import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { queries } from "../api/queries";
import type { EventSchema, Source } from "../api/types";
import { count, figure, percent, plural } from "../lib/format";
import { Ago, Button, ButtonLink, Empty, Panel, ProblemCard, Waits } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Confirm, Dialog } from "../ui/dialog";
import { Field, Input, Select, TextArea, useSubmit } from "../ui/form";
import { Icon } from "../ui/icon";
import { useToast } from "../ui/toast";

const scores = [
  ["Completeness", "completeness", "lack nothing that their schema requires, of those that were checked"],
  ["Accuracy", "accuracy", "violate their schema in nothing, of those that were checked"],
  ["Freshness", "freshness", "came within 5 minutes of when they happened, of those of which that is known"],
] as const;

/** How good a source's data is, and what its events are expected to look like. */
export function Schemas({ source, canWrite }: { source: Source; canWrite: boolean }) {
  const { data, error, refetch } = useQuery(queries.schemas(source.id));
  const [editing, setEditing] = useState<EventSchema | "new" | null>(null);
  const [removing, setRemoving] = useState<EventSchema | null>(null);
  const queryClient = useQueryClient();
  const say = useToast();
  const { quality } = source.stats;
  return (
    <Panel
      title="Data"
      padded={false}
      actions={
        <>
          <ButtonLink small href={`/events?source=${encodeURIComponent(source.name)}&violates=true`}>Violating events</ButtonLink>
          {canWrite && <Button small icon="plus" onClick={() => setEditing("new")}>Add schema</Button>}
        </>
      }
    >
      <dl className={detail.figures}>
        {scores.map(([label, name, meaning]) => (
          <div key={name} title={`${count(quality[name].numerator)} of ${count(quality[name].denominator)} new events of 24 hours ${meaning}`}>
            <dt>{label}</dt>
            <dd>{quality[name].score === null ? "no data" : percent(quality[name].score)}</dd>
          </div>
        ))}
      </dl>
      {error ? (
        <ProblemCard error={error} onRetry={() => void refetch()} what="The schemas could not be read" />
      ) : data === undefined ? (
        <Waits height={153} />
      ) : data.items.length === 0 ? (
        <Empty icon="check" title="No schema">With one, events that do not look as expected are flagged. They are processed all the same.</Empty>
      ) : (
        <ul className={detail.secrets}>
          {data.items.map((schema) => (
            <li key={schema.id}>
              <Icon name="events" />
              <span>
                <code>{schema.types}</code>
                <small>
                  version {schema.version}, since <Ago at={schema.created_at} />; {plural(schema.stats.checked, "event")} checked in 24 hours, {figure(schema.stats.violated)} not as expected
                  {schema.stats.unchecked > 0 && <>, {figure(schema.stats.unchecked)} too large to be checked</>}
                </small>
              </span>
              <Button small aria-label={`${canWrite ? "Change" : "Show"} the schema of ${schema.types}`} onClick={() => setEditing(schema)}>{canWrite ? "Change…" : "Show…"}</Button>
              {canWrite && (
                <Button small variant="quiet" icon="trash" title="Remove" aria-label={`Remove the schema of ${schema.types}`} onClick={() => setRemoving(schema)} />
              )}
            </li>
          ))}
        </ul>
      )}
      {editing && <SchemaDialog source={source} schema={editing === "new" ? null : editing} canWrite={canWrite} onClose={() => setEditing(null)} />}
      {removing && (
        <Confirm
          open
          onClose={() => setRemoving(null)}
          title={`Remove the schema of ${removing.types}`}
          action="Remove schema"
          run={async () => {
            await unwrap(client.DELETE("/v1/sources/{id}/schemas/{schema_id}", { params: { path: { id: source.id, schema_id: removing.id } } }));
            say(`Events of ${removing.types} are checked no more`);
            void queryClient.invalidateQueries({ queryKey: queries.schemas(source.id).queryKey });
          }}
        >
          All its versions go. What it found stays with the events.
        </Confirm>
      )}
    </Panel>
  );
}

const pretty = (schema: unknown) => JSON.stringify(schema, null, 2);

function SchemaDialog({ source, schema, canWrite, onClose }: { source: Source; schema: EventSchema | null; canWrite: boolean; onClose: () => void }) {
  const queryClient = useQueryClient();
  const say = useToast();
  const [types, setTypes] = useState(schema?.types ?? "");
  const [text, setText] = useState(schema ? pretty(schema.schema) : '{\n  "type": "object",\n  "required": []\n}');
  const [unread, setUnread] = useState<string | null>(null);
  const form = useSubmit(async () => {
    let read: unknown;
    try {
      read = JSON.parse(text);
    } catch (error) {
      setUnread(`is not JSON: ${error instanceof Error ? error.message : "?"}`);
      return;
    }
    const made = await unwrap(client.POST("/v1/sources/{id}/schemas", { params: { path: { id: source.id } }, body: { types, schema: read } }));
    say(`Version ${made.version} is in force for ${made.types}`);
    void queryClient.invalidateQueries({ queryKey: queries.schemas(source.id).queryKey });
    onClose();
  });
  // The place inside of the schema is said with the problem itself.
  const wrong = unread ?? form.errorAt("schema");
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title={schema ? `Schema of ${schema.types}` : "Add a schema"}
      text="JSON Schema. A change becomes the next version, in force for what comes in from then on; what does not fit is flagged and processed all the same."
      onSubmit={canWrite ? form.submit : undefined}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>{canWrite ? "Cancel" : "Close"}</Button>
          {canWrite && <Button type="submit" variant="primary" disabled={form.busy || types === ""}>{form.busy ? "Saving…" : "Save"}</Button>}
        </>
      }
    >
      {schema ? (
        <Versions source={source} schema={schema} onChoose={setText} />
      ) : (
        <Field label="Types" hint="One type, a beginning such as invoice.*, or * for all" error={form.errorAt("types")}>
          <Input value={types} onChange={setTypes} />
        </Field>
      )}
      <Field label="JSON Schema" error={wrong}>
        <TextArea
          rows={14}
          value={text}
          readOnly={!canWrite}
          onChange={(next) => {
            setUnread(null);
            setText(next);
          }}
        />
      </Field>
      {form.error !== null && <ProblemCard error={form.error} />}
    </Dialog>
  );
}

/** An older version to look at, or to go back to. */
function Versions({ source, schema, onChoose }: { source: Source; schema: EventSchema; onChoose: (text: string) => void }) {
  const { data } = useQuery(queries.schema(source.id, schema.id));
  const [version, setVersion] = useState(String(schema.version));
  const choose = (next: string) => {
    setVersion(next);
    const chosen = data?.versions.find((one) => String(one.version) === next);
    if (chosen) onChoose(pretty(chosen.schema));
  };
  const versions = data?.versions ?? [{ version: schema.version }];
  return (
    <Field label="Version">
      <Select
        value={version}
        onChange={choose}
        options={versions.map((one) => ({ value: String(one.version), label: one.version === schema.version ? `${one.version}, in force` : String(one.version) }))}
      />
    </Field>
  );
}
