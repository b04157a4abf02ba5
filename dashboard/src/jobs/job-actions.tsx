import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { client, unwrap } from "../api/client";
import { useCanWrite } from "../api/queries";
import type { Job } from "../api/types";
import { Button, ProblemCard } from "../ui/basics";
import { Confirm, Dialog } from "../ui/dialog";
import { Field, Input } from "../ui/form";
import { useToast } from "../ui/toast";

const again: Job["state"][] = ["dead", "cancelled", "retrying"];
const alive: Job["state"][] = ["waiting", "scheduled", "running", "retrying"];

/** Run again and cancel, where the state allows it. */
export function JobActions({ job, small }: { job: Job; small?: boolean }) {
  const canWrite = useCanWrite("operator");
  const queryClient = useQueryClient();
  const say = useToast();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [cancelling, setCancelling] = useState(false);
  const [reason, setReason] = useState("");

  const changed = () => {
    for (const queryKey of [["job", job.id], ["jobs", "head"], ["dead-letters", "head"], ["dead-letters", "groups"], ["event"], ["job-counts"]]) {
      void queryClient.invalidateQueries({ queryKey });
    }
  };
  const retry = () => {
    setBusy(true);
    setError(null);
    unwrap(client.POST("/v1/jobs/{id}/retry", { params: { path: { id: job.id } } }))
      .then(() => {
        say(job.state === "retrying" ? "The job is tried now" : "The job runs again");
        changed();
      }, setError)
      .finally(() => setBusy(false));
  };

  if (!canWrite) return null;
  return (
    <>
      {again.includes(job.state) && (
        <Button small={small} icon="retry" variant={job.state === "dead" ? "primary" : "plain"} onClick={retry} disabled={busy}>
          {job.state === "retrying" ? "Try now" : "Run again"}
        </Button>
      )}
      {alive.includes(job.state) && (
        <Button small={small} icon="cross" variant="danger" onClick={() => setCancelling(true)}>
          Cancel…
        </Button>
      )}
      <Confirm
        open={cancelling}
        onClose={() => setCancelling(false)}
        title="Cancel this job"
        action="Cancel the job"
        run={async () => {
          await unwrap(
            client.POST("/v1/jobs/{id}/cancel", { params: { path: { id: job.id } }, body: { reason: reason || undefined } }),
          );
          say("The job is cancelled");
          changed();
        }}
      >
        <p>
          It will not be tried again.
          {job.state === "running" && " The attempt that is running now may still take effect on the other side."}
        </p>
        <div style={{ marginTop: 16 }}>
          <Field label="Reason (kept with the job)">
            <Input value={reason} onChange={setReason} />
          </Field>
        </div>
      </Confirm>
      <Dialog open={error !== null} onClose={() => setError(null)} title="The job was not run again" foot={<Button onClick={() => setError(null)}>Close</Button>}>
        {error !== null && <ProblemCard error={error} onRetry={retry} />}
      </Dialog>
    </>
  );
}
