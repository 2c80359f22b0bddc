// Time. Nobody's wall clock can be trusted, and hidden tabs are woken once a minute.

export interface Clock {
  /** Milliseconds that only ever rise. */
  now(): number;
  /** Calls once, after so long or later; gives the way to call it off. */
  after(ms: number, work: () => void): () => void;
  /** From 0 to 1. */
  random(): number;
}

/** Longer waits overflow a timer and would ring at once. */
const LONGEST = 2 ** 31 - 1;

export const realClock: Clock = {
  now: () => performance.now(),
  after(ms, work) {
    const timer = setTimeout(work, Math.min(ms, LONGEST));
    return () => clearTimeout(timer);
  },
  random: Math.random,
};
