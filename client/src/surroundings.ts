// What the browser says: is there a network, is the page looked at, is it put aside?

import type { Clock } from "./clock.js";

/** So often a tab that is looked at asks whether it waits for another one. */
const TICK = 2000;

export interface Surroundings {
  network(isThere: boolean): void;
  /** The page is looked at again. */
  seen(): void;
  /** Now and then, while the page is looked at; not given where nobody cares. */
  tick?: (() => void) | undefined;
  /** The browser puts the page aside: it may be frozen at any moment. */
  putAside(): void;
  /** The page is back, and much is old. */
  back(): void;
}

/** Listens until what it gives is called. Programs without a page hear nothing. */
export function listen(clock: Clock, hear: Surroundings): () => void {
  const deaf: (() => void)[] = [];
  const on = (target: EventTarget, name: string, then: (event: Event) => void) => {
    target.addEventListener(name, then);
    deaf.push(() => target.removeEventListener(name, then));
  };
  if (typeof addEventListener === "function") {
    on(globalThis, "online", () => hear.network(true));
    on(globalThis, "offline", () => hear.network(false));
    on(globalThis, "pagehide", (event) => {
      if (!(event as PageTransitionEvent).persisted) return;
      hear.putAside();
      addEventListener("pageshow", () => hear.back(), { once: true });
    });
    if (typeof document === "object") {
      const isSeen = () => document.visibilityState === "visible";
      on(document, "visibilitychange", () => {
        if (isSeen()) hear.seen();
      });
      if (hear.tick) deaf.push(every(clock, TICK, () => isSeen() && hear.tick?.()));
    }
  }
  return () => {
    for (const stop of deaf.splice(0)) stop();
  };
}

/** Calls at once and then again and again, until what it gives is called. */
function every(clock: Clock, time: number, call: () => void): () => void {
  let stop = () => {};
  const ring = () => {
    call();
    stop = clock.after(time, ring);
  };
  ring();
  return () => stop();
}
