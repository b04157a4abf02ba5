// What somebody who opens the page at night has to know first, the worst on top.
import type { Overview } from "../api/types";
import { plural, span, waitWords } from "../lib/format";

export interface Matter {
  tone: "bad" | "warn";
  text: string;
  href: string;
}

/** Work that waits longer than this is worth a look, even when nothing fails. */
const WAITING_LONG_SECS = 60;
/** A refusal now and then is the internet; this share of what arrives is a wrong secret. */
const REFUSED_SHARE = 0.05;

export function mattersOf(overview: Overview): Matter[] {
  const matters: Matter[] = [];
  const on = overview.endpoints.filter(({ enabled }) => enabled);
  const open = on.filter(({ breaker }) => breaker.state === "open");
  if (open.length === 1) {
    const [endpoint] = open as [(typeof open)[number]];
    matters.push({
      tone: "bad",
      text: `${endpoint.name} is cut off, ${waitWords(endpoint.stats.waiting)}`,
      href: `/endpoints/${endpoint.id}`,
    });
  } else if (open.length > 1) {
    matters.push({ tone: "bad", text: `${plural(open.length, "endpoint")} are cut off`, href: "/endpoints" });
  }
  if (overview.totals.dead > 0) {
    matters.push({
      tone: "bad",
      text: `${plural(overview.totals.dead, "job")} died in this window`,
      href: `/dead-letters?period=${overview.window}`,
    });
  }
  if (overview.lines_parked > 0) {
    matters.push({
      tone: "bad",
      text: `${plural(overview.lines_parked, "key")} parked, ${plural(overview.jobs_parked, "job")} behind`,
      href: "/dead-letters",
    });
  }
  const waiting = overview.oldest_waiting_secs ?? 0;
  if (waiting > WAITING_LONG_SECS) {
    matters.push({ tone: "warn", text: `Work has been waiting for ${span(waiting)}`, href: "/jobs?state=waiting" });
  }
  const { refused, received } = overview.totals;
  if (refused > 0 && refused >= (received + refused) * REFUSED_SHARE) {
    matters.push({ tone: "warn", text: `${plural(refused, "request")} refused`, href: "/sources" });
  }
  for (const { source_id, source, silent, surging, missing } of overview.concerns) {
    const wrong = [silent > 0 && "is silent", surging > 0 && "brings more than usual", missing > 0 && `lacks ${plural(missing, "expected event")}`];
    matters.push({ tone: "warn", text: `${source} ${wrong.filter(Boolean).join(", ")}`, href: `/sources/${source_id}` });
  }
  const probing = on.filter(({ breaker }) => breaker.state === "half_open");
  if (probing.length > 0) {
    matters.push({
      tone: "warn",
      text: `${probing.map(({ name }) => name).join(", ")} ${probing.length === 1 ? "is" : "are"} being probed`,
      href: "/endpoints",
    });
  }
  return matters;
}
