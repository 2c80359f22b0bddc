// The tabs of one browser: one of them leads and has the socket, all hear the same.

import type { Kept } from "./storage.js";
import type { ClientEvents, Stored } from "./types.js";

/** What the tabs of a browser tell each other. */
export type Note =
  | { is: "event"; name: keyof ClientEvents; detail: unknown }
  | { is: "send"; message: Kept }
  | { is: "gone"; clientMsgId: string }
  | { is: "stored"; stored: Stored }
  | { is: "failed"; clientMsgId: string; code: string; reason: string }
  | { is: "typing"; toId: number }
  | { is: "hello" }
  /** A tab is looked at; `overdue`: and waits for the leader's timers. */
  | { is: "awake"; overdue: boolean }
  | { is: "logout" };

/** This tab among the others of one user. Where tabs cannot share, or may not, each leads. */
export class Tabs {
  /** This tab has the socket. */
  leads = false;
  #channel: Channel<Note> = noChannel;
  #stepDown = () => {};

  constructor(
    readonly share: boolean,
    private readonly hear: (note: Note) => void,
  ) {}

  /** Hears the others of that name from now on. */
  open(name: string): void {
    if (this.#channel !== noChannel) return;
    this.#channel = openChannel<Note>(name, (note) => {
      // A logout is everybody's.
      if (this.share || note.is === "logout") this.hear(note);
    });
  }

  /** Is one of them, and calls `lead` when it is this tab's turn. */
  join(name: string, lead: () => void): void {
    this.open(name);
    const begin = () => {
      this.leads = true;
      lead();
    };
    if (!this.share) return begin();
    this.#stepDown = waitToLead(name, begin);
    this.tell({ is: "hello" });
  }

  leave(): void {
    this.leads = false;
    this.#stepDown();
    this.#stepDown = () => {};
    this.#channel.close();
    this.#channel = noChannel;
  }

  /** Says it to the other tabs, where they share. */
  tell(note: Note): void {
    if (this.share) this.tellAll(note);
  }

  /** Says it to the other tabs, also where this one shares nothing with them. */
  tellAll(note: Note): void {
    this.#channel.post(note);
  }
}

interface Channel<T> {
  post(message: T): void;
  close(): void;
}

/** Whether this browser can share one socket between its tabs. */
export const canShare = (): boolean =>
  typeof navigator === "object" && !!navigator.locks && typeof BroadcastChannel === "function";

/**
 * Waits to lead: `lead` is called once this tab holds the lock, which the browser hands on
 * when a tab is closed or crashes. Gives the way to step down, or to stop waiting.
 */
function waitToLead(name: string, lead: () => void): () => void {
  const waiting = new AbortController();
  let stepDown = () => {};
  const led = new Promise<void>((resolve) => (stepDown = resolve));
  navigator.locks
    .request(name, { signal: waiting.signal }, () => {
      lead();
      return led;
    })
    .catch(() => {
      // Pages without an origin of their own may hold no lock: they lead themselves.
      if (!waiting.signal.aborted) lead();
    });
  return () => {
    waiting.abort();
    stepDown();
  };
}

/** Opens the channel of that name; it does not hear itself. */
function openChannel<T>(name: string, hear: (message: T) => void): Channel<T> {
  if (typeof BroadcastChannel !== "function") return noChannel;
  const channel = new BroadcastChannel(name);
  channel.onmessage = ({ data }) => hear(data);
  return { post: (message) => channel.postMessage(message), close: () => channel.close() };
}

const noChannel = { post() {}, close() {} };
