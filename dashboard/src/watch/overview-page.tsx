import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { Link } from "wouter";
import { queries } from "../api/queries";
import type { Overview, Window } from "../api/types";
import { oneOf, useParamsInUrl } from "../lib/search-params";
import { PageHead, Panel, ProblemCard, Segments } from "../ui/basics";
import { Attention } from "./attention-bar";
import css from "./overview.module.css";
import { Reasons, Standing } from "./standing";
import { Endpoints, Sources } from "./tables";
import { Tiles } from "./tiles";
import { VolumeChart } from "./volume";
import { windows } from "./windows";

const params = { window: oneOf(windows, "1h") };
/** Ticks keep the numbers alive; a full answer now and then corrects what they cannot say. */
const CORRECTED_EVERY_MS: Record<Window, number> = { "1h": 15_000, "24h": 30_000, "7d": 60_000 };

export function OverviewPage() {
  const [{ window }, change] = useParamsInUrl(params);
  const queryClient = useQueryClient();
  const { data, error, refetch } = useQuery({
    ...queries.overview(window),
    // Another window keeps the numbers of this one until its own are there: nothing jumps.
    placeholderData: (before) => before,
  });

  // Not `refetchInterval`: every tick would start it anew.
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) void queryClient.invalidateQueries({ queryKey: ["overview", window] });
    }, CORRECTED_EVERY_MS[window]);
    return () => clearInterval(timer);
  }, [queryClient, window]);

  return (
    <>
      <PageHead
        title="Overview"
        actions={
          <Segments<Window>
            label="Window"
            value={window}
            onChange={(next) => change({ window: next })}
            options={[
              { value: "1h", label: "Last hour" },
              { value: "24h", label: "24 hours" },
              { value: "7d", label: "7 days" },
            ]}
          />
        }
      />
      {data === undefined && error ? (
        <Panel label="Problem">
          <ProblemCard error={error} onRetry={() => void refetch()} what="The overview could not be read" />
        </Panel>
      ) : (
        <Content overview={data} window={window} />
      )}
    </>
  );
}

function Content({ overview, window }: { overview: Overview | undefined; window: Window }) {
  return (
    <>
      <Attention overview={overview} />
      <Tiles overview={overview} window={window} />
      <div className={css.charts}>
        <Panel label="Throughput" padded={false}>
          <VolumeChart overview={overview} window={window} />
        </Panel>
        <div className={css.column}>
          <Panel title="How jobs stand" padded={false}>
            <Standing overview={overview} window={window} />
          </Panel>
          <Panel title="Why jobs die" padded={false} actions={<Link href="/dead-letters" aria-label="All dead letters">All</Link>}>
            <Reasons />
          </Panel>
        </div>
      </div>
      <div className={css.tables}>
        <Sources sources={overview?.sources} />
        <Endpoints endpoints={overview?.endpoints} />
      </div>
    </>
  );
}
