// Something that the reader has the server do, and what came of it.

import { useState } from "preact/hooks";
import { words } from "./words";

export interface Act {
  busy: boolean;
  good: string;
  bad: string;
  /** Does it; the sentence that it gives is shown, or the one that it fails with. */
  run(work: () => Promise<string>): Promise<void>;
}

export function useAct(): Act {
  const [state, set] = useState({ busy: false, good: "", bad: "" });
  const run = async (work: () => Promise<string>) => {
    set({ busy: true, good: "", bad: "" });
    try {
      set({ busy: false, good: await work(), bad: "" });
    } catch (error) {
      set({ busy: false, good: "", bad: (error as Error).message });
    }
  };
  return { ...state, run };
}

/** The sentence. */
export function Outcome({ act }: { act: Act }) {
  return (
    <>
      <p class={act.good ? "done" : "hidden"} role="status">{act.busy ? words.working : act.good}</p>
      {act.bad && <p class="wrong" role="alert">{act.bad}</p>}
    </>
  );
}

/** Reads user numbers, with anything between them; null where one is none. */
export function userNumbers(text: string): number[] | null {
  const numbers = text.split(/[\s,;，、；]+/).filter(Boolean).map(userNumber);
  return numbers.includes(null) ? null : [...new Set(numbers as number[])];
}

export function userNumber(text: string): number | null {
  const number = /^[1-9]\d{0,15}$/.test(text.trim()) ? Number(text) : NaN;
  return Number.isSafeInteger(number) ? number : null;
}
