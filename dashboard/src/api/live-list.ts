import { type InfiniteData, useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { mergeHead } from "./live";
import type { Page } from "./types";
import { useConnection } from "./live-provider";

/** What is behind the last row. */
export interface More {
  has: boolean;
  loading: boolean;
  load: () => void;
  failed?: boolean;
  /** The last page ended before it was full: everything since then was looked at. */
  lookedBackTo?: string | null;
}

export interface LiveList<T> {
  /** Undefined until the first page is there. */
  rows: T[] | undefined;
  fresh: number;
  freshIsAtLeast: boolean;
  gone: ReadonlySet<string>;
  showFresh: () => void;
  reload: () => void;
  error: unknown;
  more: More;
}

/**
 * A list, newest first, page by page. The stream refreshes its head (under the key `[area, "head", filters]`); the list
 * itself (`[area, "list", filters]`) changes only in place until the reader asks for what is new.
 */
export function useLiveList<T>({
  area,
  filters,
  fetchPage,
  idOf,
}: {
  area: string;
  filters: unknown;
  fetchPage: (cursor: string | undefined) => Promise<Page<T>>;
  idOf: (row: T) => string;
}): LiveList<T> {
  const queryClient = useQueryClient();
  const connection = useConnection();
  const listKey = [area, "list", filters];
  const headKey = [area, "head", filters];

  const list = useInfiniteQuery({
    queryKey: listKey,
    queryFn: async ({ pageParam }: { pageParam: string | undefined }) => {
      const page = await fetchPage(pageParam);
      // The first page is the newest head too: no second request for the same.
      if (pageParam === undefined) queryClient.setQueryData(headKey, page);
      return page;
    },
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
  const head = useQuery({
    queryKey: headKey,
    queryFn: () => fetchPage(undefined),
    enabled: list.isSuccess,
    staleTime: Infinity,
    refetchInterval: connection === "live" ? false : 10_000,
  });

  const pages = list.data?.pages;
  const merged = useMemo(() => {
    if (pages === undefined) return undefined;
    const newest = head.data && { items: head.data.items, complete: head.data.next_cursor == null };
    return mergeHead(pages.flatMap((page) => page.items), newest, idOf);
    // `idOf` is a constant of the page that calls.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [pages, head.data]);

  return {
    rows: merged?.rows,
    fresh: merged?.fresh ?? 0,
    freshIsAtLeast: merged?.freshIsAtLeast ?? false,
    gone: merged?.gone ?? new Set(),
    showFresh: () => {
      const newest = queryClient.getQueryData<Page<T>>(headKey);
      if (newest === undefined) return;
      queryClient.setQueryData<InfiniteData<Page<T>, string | undefined>>(listKey, {
        pages: [newest],
        pageParams: [undefined],
      });
    },
    reload: () => void list.refetch(),
    error: list.data === undefined ? list.error : null,
    more: {
      has: list.hasNextPage,
      loading: list.isFetchingNextPage,
      load: () => void list.fetchNextPage(),
      failed: list.isFetchNextPageError,
      lookedBackTo: pages?.at(-1)?.looked_back_to,
    },
  };
}
