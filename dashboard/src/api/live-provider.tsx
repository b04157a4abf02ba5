import { type InfiniteData, type QueryClient, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useRef, useState } from "react";
import { applyTick, averageRates } from "./live";
import { queries, windowSecs } from "./queries";
import { type Connection, Stream } from "./stream";
import type { Change, EventDetail, Overview, Page, Tick, Window } from "./types";

interface Live {
  connection: Connection;
  retry: () => void;
}
const LiveContext = createContext<Live>({ connection: "connecting", retry: () => {} });
/** Apart from the connection, because it changes every second and few want to know. */
const TickContext = createContext<Tick | null>(null);
const AVERAGED_TICKS = 10;

export const useConnection = (): Connection => useContext(LiveContext).connection;
export const useLive = (): Live => useContext(LiveContext);
/** The last tick, its rates averaged over the last ten seconds. */
export const useTick = (): Tick | null => useContext(TickContext);

/** Changes may come four times a second; reading everything again that often helps nobody. */
const REFRESH_EVERY_MS = 2_000;
const SINGLE_ROWS_MAX = 20;

export function LiveProvider({ children }: { children: ReactNode }) {
  const queryClient = useQueryClient();
  const [connection, setConnection] = useState<Connection>("connecting");
  const [tick, setTick] = useState<Tick | null>(null);
  const stream = useRef<Stream | null>(null);

  useEffect(() => {
    const refresher = new Refresher(queryClient);
    let recent: Tick[] = [];
    const current = new Stream("/v1/stream", {
      onFrame(ticks, changes) {
        const last = ticks[ticks.length - 1];
        if (last !== undefined) {
          recent = [...recent, ...ticks].slice(-AVERAGED_TICKS);
          setTick({ ...last, rates: averageRates(recent) });
          patchOverviews(queryClient, ticks);
        }
        refresher.add(changes);
      },
      onReconnected: () => refreshAll(queryClient),
      onConnection: (next) => {
        setConnection(next);
        // The stream cannot say why it was refused; the session can, and leads to the sign-in page if it has ended.
        if (next === "offline") void queryClient.invalidateQueries({ queryKey: ["session"] });
      },
    });
    stream.current = current;
    current.start();
    const online = () => current.retryNow();
    const offline = () => current.lost();
    const visible = () => {
      if (!document.hidden) current.retryNow();
    };
    window.addEventListener("online", online);
    window.addEventListener("offline", offline);
    document.addEventListener("visibilitychange", visible);
    return () => {
      window.removeEventListener("online", online);
      window.removeEventListener("offline", offline);
      document.removeEventListener("visibilitychange", visible);
      refresher.stop();
      current.stop();
    };
  }, [queryClient]);

  const live = useMemo<Live>(() => ({ connection, retry: () => stream.current?.retryNow() }), [connection]);
  return (
    <LiveContext value={live}>
      <TickContext value={tick}>{children}</TickContext>
    </LiveContext>
  );
}

function patchOverviews(queryClient: QueryClient, ticks: Tick[]): void {
  for (const [key, overview] of queryClient.getQueriesData<Overview>({ queryKey: ["overview"] })) {
    if (overview === undefined) continue;
    const secs = windowSecs[key[1] as Window];
    const updatedAt = queryClient.getQueryState(key)?.dataUpdatedAt;
    queryClient.setQueryData(
      key,
      ticks.reduce((state, tick) => applyTick(state, tick, secs), overview),
      // A patch is not an answer: the next full one is due when it was.
      { updatedAt },
    );
  }
}

/** Everything on the page again, except lists: those keep still, their heads tell what is new. */
export function refreshAll(queryClient: QueryClient): void {
  void queryClient.invalidateQueries({ predicate: ({ queryKey }) => queryKey[1] !== "list" });
}

/** Collects what changed, and reads it again at most every two seconds. */
class Refresher {
  private readonly waiting = new Map<string, Change>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private last = 0;

  constructor(private readonly queryClient: QueryClient) {}

  add(changes: Change[]): void {
    if (changes.length === 0) return;
    for (const change of changes) {
      const seen = this.waiting.get(change.kind);
      this.waiting.set(change.kind, {
        kind: change.kind,
        ids: [...new Set([...(seen?.ids ?? []), ...change.ids])].slice(-200),
        more: change.more || (seen?.more ?? false),
      });
    }
    this.timer ??= setTimeout(() => this.flush(), Math.max(0, this.last + REFRESH_EVERY_MS - Date.now()));
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private flush(): void {
    this.timer = undefined;
    this.last = Date.now();
    const changes = [...this.waiting.values()];
    this.waiting.clear();
    for (const change of changes) this.refresh(change);
  }

  private refresh({ kind, ids, more }: Change): void {
    const invalidate = (...queryKey: string[]) => void this.queryClient.invalidateQueries({ queryKey });
    const each = (area: string) => (more ? invalidate(area) : ids.forEach((id) => invalidate(area, id)));
    switch (kind) {
      case "event":
        invalidate("events", "head");
        each("event");
        void this.refreshRows("events", ids, (id) => this.queryClient.fetchQuery(queries.event(id)));
        break;
      case "job":
        invalidate("jobs", "head");
        invalidate("job-counts");
        each("job");
        this.refreshEventsOf(ids, more);
        void this.refreshRows("jobs", ids, (id) => this.queryClient.fetchQuery(queries.job(id)));
        break;
      case "dead_letter":
        invalidate("dead-letters", "head");
        invalidate("dead-letters", "groups");
        each("job");
        this.refreshEventsOf(ids, more);
        break;
      case "endpoint":
        invalidate("endpoints");
        each("endpoint");
        invalidate("overview");
        break;
      case "queue":
        invalidate("queues");
        break;
      case "source":
        invalidate("sources");
        each("source");
        invalidate("receipts", "head");
        invalidate("overview");
        break;
      case "saga":
        invalidate("sagas");
        break;
      case "saga_run":
        invalidate("saga-runs");
        break;
      case "schedule":
        invalidate("schedules");
        break;
    }
  }

  /** The event whose page is open, when one of its jobs moved. */
  private refreshEventsOf(jobs: string[], more: boolean): void {
    const moved = new Set(jobs);
    void this.queryClient.invalidateQueries({
      queryKey: ["event"],
      predicate: ({ state }) => {
        const event = state.data as EventDetail | undefined;
        return more || event === undefined || event.jobs_list.some((job) => moved.has(job.id));
      },
    });
  }

  /** Rows that are shown below the head of their list: read one by one, a bounded number of them. */
  private async refreshRows<T extends { id: string }>(area: string, ids: string[], fetchOne: (id: string) => Promise<T>) {
    const moved = new Set(ids);
    const lists = this.queryClient.getQueryCache().findAll({ queryKey: [area, "list"], type: "active" });
    for (const list of lists) {
      const data = list.state.data as InfiniteData<Page<T>> | undefined;
      const head = this.queryClient.getQueryData<Page<T>>([area, "head", list.queryKey[2]]);
      const inHead = new Set(head?.items.map((row) => row.id));
      const wanted = (data?.pages ?? [])
        .flatMap((page) => page.items)
        .filter((row) => moved.has(row.id) && !inHead.has(row.id))
        .slice(0, SINGLE_ROWS_MAX);
      for (const { id } of wanted) {
        const row = await fetchOne(id).catch(() => null);
        if (row === null) continue;
        this.queryClient.setQueryData<InfiniteData<Page<T>>>(list.queryKey, (old) =>
          old && {
            ...old,
            pages: old.pages.map((page) => ({
              ...page,
              items: page.items.map((each) => (each.id === id ? row : each)),
            })),
          },
        );
      }
    }
  }
}
