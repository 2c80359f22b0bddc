// Which messages this tab has seen, and how far the browser as a whole has come.

import type { Message } from "./types.js";

/** Messages of one's own that are remembered, to be shown once. */
const OWN = 1000;

type Place = Pick<Message, "messageId" | "fromId" | "toId">;

export class Inbox {
  /** The highest message id of the inbox that was seen here. */
  #highest = 0;
  #own = new Set<string>();
  #cursor = "";
  #writing = false;

  constructor(private readonly keep: (cursor: string) => Promise<void> | undefined) {}

  /** Whether the message has not been seen here; from now on it has. */
  isNews(message: Place, me: number | null): boolean {
    const { messageId, fromId, toId } = message;
    if (toId !== me && fromId !== me) return false;
    // Ids of other inboxes say nothing about ours.
    const older = toId === me && Number(messageId) <= this.#highest;
    if (toId === me && !older) this.#highest = Number(messageId);
    return fromId === me ? !older && this.wrote(message) : !older;
  }

  /**
   * Notes a message of this user's own; false where it was known. It does not move what was
   * seen of the inbox, also where it is a note to oneself: others may come in before it.
   */
  wrote({ messageId, toId }: Place): boolean {
    const name = `${toId} ${messageId}`;
    if (this.#own.has(name)) return false;
    this.#own.add(name);
    const [oldest] = this.#own;
    if (this.#own.size > OWN && oldest) this.#own.delete(oldest);
    return true;
  }

  /** The page has it: the next connection may begin behind it. */
  taken({ messageId, toId }: Place, me: number | null): void {
    if (toId === me) this.#advance(messageId);
  }

  /** The server says how far the inbox reaches; where it begins anew, lower than before. */
  upToDate(head: string, anew: boolean): void {
    this.#highest = anew ? Number(head) : Math.max(this.#highest, Number(head));
    this.#advance(head);
  }

  /** Everything may come again. */
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
