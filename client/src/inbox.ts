// Which messages this tab has seen, and how far the browser as a whole has come.

import type { Message } from "./types.js";

/** Messages sent on other devices that are remembered, to be shown once. */
const OWN = 1000;

export class Inbox {
  /** The highest message id of the inbox that was seen here. */
  #highest = 0;
  #own = new Set<string>();
  #cursor = "";
  #writing = false;

  constructor(private readonly keep: (cursor: string) => Promise<void> | undefined) {}

  /** Whether the message has not been seen here; from now on it has. */
  isNews({ messageId, fromId, toId }: Message, me: number | null): boolean {
    if (toId === me) {
      const id = Number(messageId);
      if (id <= this.#highest) return false;
      this.#highest = id;
      return true;
    }
    if (fromId !== me) return false;
    // Of another inbox: its numbers say nothing about ours.
    const name = `${toId} ${messageId}`;
    if (this.#own.has(name)) return false;
    if (this.#own.size >= OWN) this.#own.clear();
    this.#own.add(name);
    return true;
  }

  /** The page has it: the next connection may begin behind it. */
  taken({ messageId, toId }: Message, me: number | null): void {
    if (toId === me) this.#advance(messageId);
  }

  /** The server says how far the inbox reaches; lower than what was seen, it is another one. */
  upToDate(head: string): void {
    this.#highest = Number(head);
    this.#advance(head);
  }

  reset(): void {
    this.#highest = 0;
    this.#cursor = "";
    this.#own.clear();
  }

  /** Keeps the newest cursor; one write at a time is enough for any number of messages. */
  #advance(cursor: string): void {
    this.#cursor = cursor;
    if (this.#writing) return;
    this.#writing = true;
    void (async () => {
      let written = "";
      while (written !== this.#cursor) {
        written = this.#cursor;
        await Promise.resolve(this.keep(written)).catch(() => {});
      }
      this.#writing = false;
    })();
  }
}
