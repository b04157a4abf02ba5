import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Link } from "wouter";
import { queries, useCanWrite } from "../api/queries";
import type { Diagnosis, ReceiptDetail } from "../api/types";
import { absolute, bytes, sentence, span, words } from "../lib/format";
import { HeaderLines } from "../jobs/attempts";
import { Ago, Button, ButtonLink, CopyButton, Empty, Facts, Id, notFound, Notice, PageHead, Panel, ProblemCard, Skeleton, TitleSkeleton } from "../ui/basics";
import detail from "../ui/detail.module.css";
import { VerdictBadge } from "../ui/status";
import timelineCss from "../ui/timeline.module.css";
import ui from "../ui/ui.module.css";
import { adviceFor, type Remedy } from "./diagnosis";
import { ReverifyDialog } from "./reverify-dialog";

/** One request as it arrived; of one that was refused, why, and what to do next. */
export function ReceiptPage({ id }: { id: string }) {
  const { data: receipt, error, refetch } = useQuery(queries.receipt(id));
  if (receipt) return <Loaded receipt={receipt} onAgain={() => void refetch()} />;
  const back = { href: "/sources", label: "Sources" };
  return (
    <>
      <PageHead title={error ? "Request" : <TitleSkeleton width={220} />} back={back} documentTitle="Request" sub={error ? undefined : <Skeleton width={300} />} />
      <Panel label="Request">
        {error ? (
          notFound(error) ? (
            <Empty icon="question" title="There is no such request" actions={<ButtonLink href="/sources">To the sources</ButtonLink>}>
              It may belong to a tenant that you do not see, or be older than requests are kept.
            </Empty>
          ) : (
            <ProblemCard error={error} onRetry={() => void refetch()} what="The request could not be read" />
          )
        ) : (
          <div style={{ height: 420 }} aria-busy="true"><Skeleton width="50%" /></div>
        )}
      </Panel>
    </>
  );
}

function Loaded({ receipt, onAgain }: { receipt: ReceiptDetail; onAgain: () => void }) {
  const refused = receipt.verdict === "refused";
  const title = refused ? "Refused request" : "Request";
  const headers = Object.entries(receipt.headers);
  return (
    <>
      <PageHead
        back={{ href: `/sources/${receipt.source_id}`, label: receipt.source_name }}
        documentTitle={title}
        title={<span className={ui.actions}>{title} <VerdictBadge verdict={receipt.verdict} /></span>}
        sub={<>To <Link href={`/sources/${receipt.source_id}`}>{receipt.source_name}</Link> from <code>{receipt.remote}</code>, <Ago at={receipt.received_at} /></>}
      />
      <div className={detail.columns}>
        <div className={detail.stack}>
          {refused && <Why receipt={receipt} onAgain={onAgain} />}
          <Panel title="Request">
            <Facts
              items={[
                ["Id", <Id key="id" value={receipt.id} full />],
                ...(receipt.reason ? ([["Refused for", <span key="reason" className={ui.chip}>{receipt.reason}</span>]] as [string, ReactNode][]) : []),
                ["Received", absolute(receipt.received_at)],
                ["From", <code key="from">{receipt.remote}</code>],
                ["Body", bytes(receipt.bytes)],
              ]}
            />
          </Panel>
        </div>
        <Panel title="Headers" actions={headers.length > 0 && <CopyButton label="Copy headers" text={headers.map(([name, value]) => `${name}: ${value}`).join("\n")} />}>
          {headers.length === 0 ? (
            <p className="muted">None is kept.</p>
          ) : (
            <>
              <pre className={timelineCss.headers} tabIndex={0} role="group" aria-label="Headers of the request">
                <HeaderLines headers={receipt.headers} />
              </pre>
              <p className="muted" style={{ marginTop: 8 }}>Those that carry credentials are never kept.</p>
            </>
          )}
        </Panel>
      </div>
    </>
  );
}

/** Which rule it fails by now, and what to do about it. */
function Why({ receipt, onAgain }: { receipt: ReceiptDetail; onAgain: () => void }) {
  const canOperate = useCanWrite("operator");
  const [verifying, setVerifying] = useState(false);
  const { diagnosis } = receipt;
  if (!diagnosis) {
    return (
      <Panel title="Why it was refused">
        <Notice icon="question">Its source is gone, and with it what the request could be judged by.</Notice>
      </Panel>
    );
  }
  const advice = adviceFor(diagnosis);
  const tone = diagnosis.cause === "genuine" ? "ok" : "warn";
  const remedies = advice?.remedies ?? [];
  return (
    <Panel title="Why it was refused" actions={<Button small icon="retry" onClick={onAgain}>Look again</Button>}>
      <div className={detail.stack}>
        <Notice tone={tone} icon={tone === "ok" ? "check" : "warning"}>
          <strong>{advice?.title ?? sentence(words(diagnosis.cause))}.</strong> {sentence(diagnosis.detail)}.
        </Notice>
        {diagnosis.clock_difference_secs != null && <p className="secondary">{clockWords(diagnosis.clock_difference_secs)}</p>}
        {advice && (
          <div>
            <h3>What to do next</h3>
            <p className="secondary" style={{ marginTop: 4 }}>{advice.next}</p>
          </div>
        )}
        {remedies.some((each) => each !== "resend") && (
          <div className={ui.actions}>
            {remedies.map((remedy) => (
              <RemedyButton key={remedy} remedy={remedy} receipt={receipt} diagnosis={diagnosis} onVerify={canOperate ? () => setVerifying(true) : undefined} />
            ))}
          </div>
        )}
        <p className="muted">
          <code>{diagnosis.cause}</code> · worked out when this page was opened, with what the source knows now and by the clock of the time when the request came.
        </p>
      </div>
      {verifying && <ReverifyDialog source={{ id: receipt.source_id }} onClose={() => setVerifying(false)} />}
    </Panel>
  );
}

function RemedyButton({ remedy, receipt, diagnosis, onVerify }: { remedy: Remedy; receipt: ReceiptDetail; diagnosis: Diagnosis; onVerify?: () => void }) {
  switch (remedy) {
    case "reverify":
      return onVerify ? <Button icon="shield" onClick={onVerify}>Verify again…</Button> : null;
    case "secrets":
      return <ButtonLink href={`/sources/${receipt.source_id}`} icon="key">Secrets of {receipt.source_name}</ButtonLink>;
    case "settings":
      return <ButtonLink href={`/sources/${receipt.source_id}`} icon="settings">Settings of {receipt.source_name}</ButtonLink>;
    case "other_source":
      return diagnosis.other_source_id ? (
        <ButtonLink href={`/sources/${diagnosis.other_source_id}`} icon="sources">To {diagnosis.other_source_name ?? "that source"}</ButtonLink>
      ) : null;
    case "resend":
      return null;
  }
}

const clockWords = (secs: number): string =>
  secs >= 0 ? `It was signed ${span(secs)} before it came, by our clock.` : `It was signed ${span(-secs)} after it came, by our clock: the sender's is ahead, or ours behind.`;
