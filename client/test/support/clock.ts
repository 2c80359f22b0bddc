// Time that passes when a test says so.

import type { Clock } from "../../src/clock.js";

interface Timer {
  due: number;
  work: () => void;
}

export class TestClock implements Clock {
  #now = 1000;
  #timers = new Set<Timer>();
  /** What the next throws of the dice give. */
  chance = 1;

  now(): number {
    return this.#now;
  }

  random(): number {
    return this.chance;
  }

  after(ms: number, work: () => void): () => void {
    const timer = { due: this.#now + ms, work };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** Lets time pass; every timer rings when it is due. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settled();
      const next = this.#next();
      if (!next || next.due > end) break;
      this.#now = Math.max(this.#now, next.due);
      this.#ring(next);
    }
    this.#now = end;
    await settled();
  }

  /** Time in which no timer rings: the page is hidden, or the machine sleeps. */
  skip(ms: number): void {
    this.#now += ms;
  }

  #next(): Timer | undefined {
    return [...this.#timers].sort((a, b) => a.due - b.due)[0];
  }

  #ring(timer: Timer): void {
    this.#timers.delete(timer);
    timer.work();
  }
}

/** Everything that needs no time has happened: promises, and what they set going. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 10; turns++) await new Promise((done) => setImmediate(done));
}

/** Waits for something that comes by itself, and says so where it does not. */
export async function until<T>(
  what: string,
  look: () => T | undefined | null | false | Promise<T | undefined | null | false>,
  ms = 10_000,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (performance.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await new Promise((done) => setTimeout(done, 2));
  }
}
