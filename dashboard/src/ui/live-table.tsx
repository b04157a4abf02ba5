import type { ReactNode } from "react";
import type { LiveList } from "../api/live-list";
import { Button, Empty, Moment, ProblemCard } from "./basics";
import { ListFoot, MoreButton, Table, type TableProps } from "./table";

/** A live list as a table: what went wrong, or why it is empty, or its rows and how many of them are shown. */
export function LiveTable<T>({
  list,
  label,
  noun,
  filters,
  none,
  ...table
}: {
  list: LiveList<T>;
  /** One row of it; the plural has an s. */
  noun: string;
  /** With filters set, an empty list is their doing, and they can be cleared. */
  filters?: { filtered: boolean; clear: () => void; hint?: ReactNode };
  /** What an empty list says. */
  none: ReactNode;
} & Omit<TableProps<T>, "rows" | "goneIds">) {
  if (list.error) return <ProblemCard error={list.error} onRetry={list.reload} what={`${label} could not be read`} />;
  if (list.rows?.length === 0) {
    const { more } = list;
    if (more.has && more.lookedBackTo) {
      return (
        <Empty icon="filter" title={`No ${noun} found so far`} actions={<MoreButton more={more} />}>
          Looked at everything since <Moment at={more.lookedBackTo} />. There are older ones.
        </Empty>
      );
    }
    if (!filters?.filtered) return none;
    return (
      <Empty icon="filter" title={`No ${noun} matches these filters`} actions={<Button onClick={filters.clear}>Clear all filters</Button>}>
        {filters.hint}
      </Empty>
    );
  }
  return (
    <>
      <Table {...table} label={label} rows={list.rows} goneIds={list.gone} />
      {list.rows && <ListFoot shown={list.rows.length} noun={noun} more={list.more} />}
    </>
  );
}
