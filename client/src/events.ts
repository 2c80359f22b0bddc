// Who listens to what.

import type { Clock } from "./clock.js";
import type { ClientEvents } from "./types.js";

type Listener<K extends keyof ClientEvents> = (detail: ClientEvents[K]) => void;

export class Events {
  #listeners: { [K in keyof ClientEvents]?: Set<Listener<K>> } = {};

  constructor(private readonly clock: Clock) {}

  on<K extends keyof ClientEvents>(name: K, listener: Listener<K>): () => void {
    const all = this.#listeners as Record<K, Set<Listener<K>> | undefined>;
    const listeners = (all[name] ??= new Set());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  emit<K extends keyof ClientEvents>(name: K, detail: ClientEvents[K]): void {
    for (const listener of this.#listeners[name] ?? []) {
      try {
        (listener as Listener<K>)(detail);
      } catch (why) {
        // A page's mistake is the page's to see, and nobody else's to suffer from.
        this.clock.after(0, () => {
          throw why;
        });
      }
    }
  }
}
