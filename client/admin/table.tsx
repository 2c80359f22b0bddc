// A list from the server, as a table that a phone can show too.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { words } from "./words";

export interface List<T> {
  rows: T[];
  bad: string;
  loading: boolean;
  reload(): void;
}

/** Loads a list, again whenever one of `on` changes. */
export function useList<T>(load: () => Promise<T[]>, on: unknown[]): List<T> {
  const [state, set] = useState({ rows: [] as T[], bad: "", loading: true });
  const [turn, next] = useState(0);
  useEffect(() => {
    let wanted = true;
    load().then(
      (rows) => wanted && set({ rows, bad: "", loading: false }),
      (error: Error) => wanted && set({ rows: [], bad: error.message, loading: false }),
    );
    return () => { wanted = false; };
  }, [turn, ...on]);
  return { ...state, reload: () => next((turn) => turn + 1) };
}

interface Props<T> {
  label: string;
  list: List<T>;
  empty: string;
  /** The names of the columns; "" is that of what can be done. */
  head: string[];
  row(one: T): { key: string; cells: ComponentChildren[] };
}

export function Table<T>({ label, list, empty, head, row }: Props<T>) {
  if (list.bad) return <p class="wrong" role="alert">{list.bad}</p>;
  if (!list.rows.length) return <p class="quiet">{list.loading ? words.loading : empty}</p>;
  return (
    <div class="rows" role="region" tabIndex={0} aria-label={label}>
      <table>
        <thead><tr>{head.map((name) => <th key={name} scope="col">{name || <span class="hidden">{words.actions}</span>}</th>)}</tr></thead>
        <tbody>
          {list.rows.map((one) => {
            const { key, cells } = row(one);
            return <tr key={key}>{cells.map((cell, n) => <td key={n}>{cell}</td>)}</tr>;
          })}
        </tbody>
      </table>
    </div>
  );
}
