import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import type { Endpoint } from "../api/types";
import { useNow } from "../lib/now";
import { Ago, Button, Moment, Panel, ProblemCard } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { Confirm, Dialog, SecretDialog, shownOnce } from "../ui/dialog";
import { Field, formClass, Select, useSubmit } from "../ui/form";
import { Icon } from "../ui/icon";
import { useToast } from "../ui/toast";

const overlaps = [
  { value: "86400", label: "For a day" },
  { value: "3600", label: "For an hour" },
  { value: "604800", label: "For a week" },
  { value: "0", label: "Not at all: it ends at once" },
];

/** What pushes are signed with, seen by their ends only; a new one takes the place of the one before. */
export function EndpointSecrets({ endpoint, canWrite }: { endpoint: Endpoint; canWrite: boolean }) {
  const queryClient = useQueryClient();
  const say = useToast();
  const now = useNow();
  const [doing, setDoing] = useState<"rotate" | "end" | null>(null);
  const [made, setMade] = useState<{ secret: string; until: string | null } | null>(null);
  const reload = () => queryClient.invalidateQueries({ queryKey: ["endpoint", endpoint.id] });
  // What has ended a moment ago may still be in the answer.
  const secrets = endpoint.secrets.filter(({ until }) => until == null || Date.parse(until) > now);
  const overlapping = secrets.filter(({ until }) => until != null);
  return (
    <Panel
      title="Signing secrets"
      padded={false}
      actions={canWrite && <Button small icon="key" onClick={() => setDoing("rotate")}>New secret…</Button>}
    >
      <ul className={detail.secrets} aria-label="Signing secrets">
        {secrets.map(({ hint, until }) => (
          <li key={hint}>
            <Icon name="key" />
            <span>
              <code>{hint}</code>
              <small>{until == null ? "signs every push" : <>signs along until <Moment at={until} />, <Ago at={until} /></>}</small>
            </span>
          </li>
        ))}
      </ul>
      {canWrite && overlapping.length > 0 && (
        <div className={detail.pad}>
          <div className={detail.danger}>
            <span>Does your application verify with the new one? Then the old one need not sign along any more.</span>
            <Button onClick={() => setDoing("end")}>End the overlap…</Button>
          </div>
        </div>
      )}
      {doing === "rotate" && (
        <Rotate
          endpoint={endpoint}
          onClose={() => setDoing(null)}
          onMade={(secret, until) => {
            setMade({ secret, until });
            void reload();
          }}
        />
      )}
      <SecretDialog
        open={made !== null}
        onClose={() => setMade(null)}
        title={`The new secret of ${endpoint.name}`}
        text={
          made?.until ? (
            <>Your code verifies with it that a request comes from Mainstay. The old one signs along until <Moment at={made.until} />.</>
          ) : (
            "Your code verifies with it that a request comes from Mainstay. No other one signs any more."
          )
        }
        secret={made?.secret ?? ""}
      />
      <Confirm
        open={doing === "end"}
        onClose={() => setDoing(null)}
        title={`End the overlap of ${endpoint.name}`}
        action="End the overlap"
        run={async () => {
          await unwrap(client.DELETE("/v1/endpoints/{id}/secret/previous", { params: { path: { id: endpoint.id } } }));
          await reload();
          say("Only the newest secret signs now");
        }}
      >
        Code that knows only an older secret refuses pushes from now on, and they are tried again later.
      </Confirm>
    </Panel>
  );
}

function Rotate({ endpoint, onClose, onMade }: { endpoint: Endpoint; onClose: () => void; onMade: (secret: string, until: string | null) => void }) {
  const [overlap, setOverlap] = useState(overlaps[0]!.value);
  const form = useSubmit(async () => {
    const answer = await unwrap(
      client.POST("/v1/endpoints/{id}/secret", { params: { path: { id: endpoint.id } }, body: { overlap_secs: Number(overlap) } }),
    );
    onClose();
    onMade(shownOnce(answer.secret), answer.previous_until ?? null);
  });
  return (
    <Dialog
      open
      onClose={onClose}
      closable={!form.busy}
      title={`A new secret for ${endpoint.name}`}
      text="It signs every push from now on. While the old one signs along, a push carries a signature of both."
      onSubmit={form.submit}
      foot={
        <>
          <Button onClick={onClose} disabled={form.busy}>Cancel</Button>
          <Button type="submit" variant="primary" disabled={form.busy}>{form.busy ? "Working…" : "Make a new secret"}</Button>
        </>
      }
    >
      <div className={formClass}>
        <Field label="The old one signs along" hint="Code that knows only the old one refuses pushes after that, and they are tried again later." error={form.errorAt("overlap_secs")}>
          <Select value={overlap} onChange={setOverlap} options={overlaps} />
        </Field>
        {form.error !== null && <ProblemCard error={form.error} />}
      </div>
    </Dialog>
  );
}
