import { type ReactNode, useRef } from "react";
import { Link } from "wouter";
import type { More } from "../api/live-list";
import { plural } from "../lib/format";
import { Button, cx, Moment, Skeleton } from "./basics";
import css from "./table.module.css";

export interface Column<T> {
  key: string;
  label: string;
  cell: (row: T) => ReactNode;
  /** CSS width; columns without one share what is left. */
  width?: string;
  end?: boolean;
  /** The cell that carries the row's link. */
  primary?: boolean;
  /** What becomes of the cell where the row is a card: in front, beside it, on a line of its own, left out, or a pair. */
  card?: "title" | "status" | "wide" | "hide";
  /** Whether the card says what the value is. On by default, except for title and status. */
  cardLabel?: boolean;
}

export interface Selection {
  has(id: string): boolean;
  toggle(ids: string[], on: boolean): void;
  label: (id: string) => string;
}

export interface TableProps<T> {
  label: string;
  columns: Column<T>[];
  /** Not there yet: `skeleton` rows of the same height hold their place. */
  rows: readonly T[] | undefined;
  idOf: (row: T) => string;
  hrefOf?: (row: T) => string;
  selection?: Selection;
  skeleton?: number;
  /** Rows that the list no longer holds: still shown, but dimmed. */
  goneIds?: ReadonlySet<string>;
}

export function Table<T>({
  label,
  columns,
  rows,
  idOf,
  hrefOf,
  selection,
  skeleton,
  goneIds,
}: TableProps<T>) {
  const lastToggled = useRef<string | null>(null);
  const ids = rows?.map(idOf) ?? [];
  const all = ids.length > 0 && selection !== undefined && ids.every((id) => selection.has(id));
  const some = selection !== undefined && !all && ids.some((id) => selection.has(id));

  const toggle = (id: string, on: boolean, range: boolean) => {
    const from = lastToggled.current === null ? -1 : ids.indexOf(lastToggled.current);
    const to = ids.indexOf(id);
    const touched = range && from >= 0 ? ids.slice(Math.min(from, to), Math.max(from, to) + 1) : [id];
    selection?.toggle(touched, on);
    lastToggled.current = id;
  };

  return (
    <div className={css.wrap}>
      <table
        className={css.table}
        aria-label={label}
        aria-busy={rows === undefined}
        role="table"
      >
        <colgroup>
          {selection && <col style={{ width: 44 }} />}
          {columns.map((column) => (
            <col key={column.key} style={column.width ? { width: column.width } : undefined} />
          ))}
        </colgroup>
        <thead role="rowgroup">
          <tr role="row">
            {selection && (
              <th className={css.check} role="columnheader" scope="col">
                <label>
                  <input
                    type="checkbox"
                    aria-label="Select all rows shown"
                    checked={all}
                    disabled={ids.length === 0}
                    ref={(input) => {
                      if (input) input.indeterminate = some;
                    }}
                    onChange={(event) => selection.toggle(ids, event.target.checked)}
                  />
                </label>
              </th>
            )}
            {columns.map((column) => (
              <th key={column.key} role="columnheader" scope="col" className={cx(column.end && css.end)}>
                {column.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows === undefined
            ? Array.from({ length: skeleton ?? 8 }, (_, index) => (
                <tr key={index} className={css.row} role="row">
                  {selection && <td className={css.check} role="cell" />}
                  {columns.map((column, at) => (
                    <td key={column.key} role="cell" data-card={column.card} className={cx(column.end && css.end)}>
                      <Skeleton width={`${[62, 48, 70, 55][(index + at) % 4]}%`} />
                    </td>
                  ))}
                </tr>
              ))
            : rows.map((row) => {
                const id = idOf(row);
                const href = hrefOf?.(row);
                const selected = selection?.has(id) ?? false;
                return (
                  <tr
                    key={id}
                    className={css.row}
                    role="row"
                    data-row={id}
                    data-linked={href ? "" : undefined}
                    data-selected={selected ? "" : undefined}
                    data-gone={goneIds?.has(id) ? "" : undefined}
                    title={goneIds?.has(id) ? "Has changed since, and no longer belongs in this list" : undefined}
                  >
                    {selection && (
                      <td className={css.check} role="cell">
                        <label>
                          <input
                            type="checkbox"
                            data-row-check
                            aria-label={selection.label(id)}
                            checked={selected}
                            onChange={(event) =>
                              toggle(id, event.target.checked, (event.nativeEvent as MouseEvent).shiftKey === true)
                            }
                          />
                        </label>
                      </td>
                    )}
                    {columns.map((column) => {
                      const labelled = column.cardLabel ?? (column.card !== "title" && column.card !== "status");
                      return (
                        <td
                          key={column.key}
                          role="cell"
                          className={cx(column.end && css.end)}
                          data-card={column.card}
                          data-label={labelled ? column.label : undefined}
                        >
                          {column.primary && href ? (
                            <Link href={href} className={css.link} data-row-link="">
                              {column.cell(row)}
                            </Link>
                          ) : (
                            column.cell(row)
                          )}
                        </td>
                      );
                    })}
                  </tr>
                );
              })}
        </tbody>
      </table>
    </div>
  );
}

/** How much of the list is shown, and more of it. */
export function ListFoot({
  shown,
  noun,
  more,
}: {
  shown: number;
  /** One of them. */
  noun: string;
  more: More;
}) {
  return (
    <div className={css.foot}>
      <span>
        {more.has ? `The first ${plural(shown, noun)}` : shown === 1 ? `1 ${noun}, the only one` : `${plural(shown, noun)}, all there are`}
        {more.lookedBackTo && <>, looked back to <Moment at={more.lookedBackTo} /></>}
      </span>
      {more.has && <MoreButton more={more} />}
    </div>
  );
}

/** The next page; where few are looked for among very many, the next look. */
export function MoreButton({ more }: { more: More }) {
  const words = more.lookedBackTo
    ? { load: "Look further back", loading: "Looking…", again: "Try to look further again" }
    : { load: "Load more", loading: "Loading…", again: "Try to load more again" };
  return (
    <Button small onClick={more.load} disabled={more.loading}>
      {more.loading ? words.loading : more.failed ? words.again : words.load}
    </Button>
  );
}

export const sub = css.sub;
