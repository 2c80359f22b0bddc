// A list from the server, as a table that a phone can show too.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Refused } from "./calls";
import { words } from "./words";

/** What a section shows of the server's. */
export interface Loaded<P> {
  /** Null while there is none, or none of what is asked for now. */
  page: P | null;
  bad: string;
  reload(): void;
}

/** How soon what got no answer is asked for again. */
const AGAIN_MS = 1000;

/**
 * Loads a page of what `of` names, and again whenever `turn` changes. What was loaded for
 * another `of` is not shown for this one, and an answer that comes late is dropped whole.
 */
export function useLoaded<P>(load: () => Promise<P>, of: unknown[] = [], turn = 0): Loaded<P> {
  const [state, set] = useState({ of, page: null as P | null, bad: "" });
  const [again, next] = useState(0);
  const reload = () => next((again) => again + 1);
  useEffect(() => {
    let wanted = true;
    let timer = 0;
    load().then(
      (page) => wanted && set({ of, page, bad: "" }),
      (error: Error) => {
        if (!wanted) return;
        set({ of, page: null, bad: error.message });
        // Nobody has to look whether the server is back; what it refuses, it would refuse again.
        if (!(error instanceof Refused) || error.status >= 500) timer = window.setTimeout(reload, AGAIN_MS);
      },
    );
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [again, turn, ...of]);
  const current = of.every((one, n) => one === state.of[n]);
  return { page: current ? state.page : null, bad: current ? state.bad : "", reload };
}

interface Props<T> {
  label: string;
  /** Null where they are still to come. */
  rows: T[] | null;
  bad: string;
  empty: string;
  /** The names of the columns; "" is that of what can be done. */
  head: string[];
  row(one: T): { key: string; cells: ComponentChildren[] };
}

export function Table<T>({ label, rows, bad, empty, head, row }: Props<T>) {
  if (bad) return <p class="wrong" role="alert">{bad}</p>;
  if (!rows?.length) return <p class="quiet">{rows ? empty : words.loading}</p>;
  return (
    <div class="rows" role="region" tabIndex={0} aria-label={label}>
      <table>
        <thead><tr>{head.map((name) => <th key={name} scope="col">{name || <span class="hidden">{words.actions}</span>}</th>)}</tr></thead>
        <tbody>
          {rows.map((one) => {
            const { key, cells } = row(one);
            return <tr key={key}>{cells.map((cell, n) => <td key={n}>{cell}</td>)}</tr>;
          })}
        </tbody>
      </table>
    </div>
  );
}
