// Time. Nobody's wall clock can be trusted, and hidden tabs are woken once a minute.

export interface Clock {
  /** Milliseconds that only ever rise, also while the machine sleeps. */
  now(): number;
  /** Calls once, after so long or later; gives the way to call it off. */
  after(ms: number, work: () => void): () => void;
  /** From 0 to 1. */
  random(): number;
  /** Calls what is overdue: for a hidden tab, when one that is looked at says so. */
  catchUp?(): void;
}

/** Longer waits overflow a timer and would ring at once. */
const LONGEST = 2 ** 31 - 1;
/** A wall clock that runs ahead by so much at once was not corrected: the machine slept. */
const SLEPT = 1000;

/** The clock of this machine. */
export function machineClock(): Clock {
  let slept = 0;
  let ahead = Date.now() - performance.now();
  const waiting = new Map<object, { due: number; work: () => void }>();
  const now = () => {
    // In many browsers the monotonic clock stands still while the machine sleeps.
    const jump = Date.now() - performance.now() - ahead;
    ahead += jump;
    if (jump > SLEPT) slept += jump;
    return performance.now() + slept;
  };
  return {
    now,
    after(ms, work) {
      const key = {};
      const ring = () => {
        if (waiting.delete(key)) work();
      };
      const timer = setTimeout(ring, Math.min(ms, LONGEST));
      waiting.set(key, { due: now() + ms, work: ring });
      return () => {
        clearTimeout(timer);
        waiting.delete(key);
      };
    },
    random: Math.random,
    catchUp() {
      for (const { due, work } of [...waiting.values()]) if (due <= now()) work();
    },
  };
}
