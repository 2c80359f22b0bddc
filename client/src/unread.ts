// How many messages are unread, by peer: counted by the server, kept in step here.

import type { ConversationPage, Message } from "./types.js";

/** More conversations than these pages hold are not counted one by one. */
const PAGES = 10;

export class Unread {
  total = 0;
  byPeer = new Map<number, number>();
  /** Unread messages that were seen here, and whose they are. */
  #known = new Map<string, number>();
  /** The newest message of each peer that the server has counted, read or not. */
  #counted = new Map<number, number>();
  #loading: Promise<void> | undefined;
  /** What is being loaded is no longer the newest. */
  #outdated = false;
  /** What is being loaded for an earlier one is nobody's any more. */
  #owner = {};

  constructor(
    private readonly load: (cursor?: string) => Promise<ConversationPage>,
    private readonly changed: () => void,
  ) {}

  of(peerId: number): number {
    return this.byPeer.get(peerId) ?? 0;
  }

  /** Asks the server, once for all who want it meanwhile. */
  reload(): Promise<void> {
    this.#outdated = true;
    if (!this.#loading) {
      const loading = this.#reload().finally(() => {
        if (this.#loading === loading) this.#loading = undefined;
      });
      this.#loading = loading;
    }
    return this.#loading;
  }

  /** A message came in. On another way than the count, which may know of it already. */
  add({ messageId, fromId }: Message): void {
    if (Number(messageId) <= (this.#counted.get(fromId) ?? 0)) return;
    this.#known.set(messageId, fromId);
    this.total += 1;
    this.byPeer.set(fromId, this.of(fromId) + 1);
    this.#outdated = true;
    this.changed();
  }

  /** Notes whose an unread message is, so that its mark can be taken off without asking. */
  know(messageId: string, fromId: number): void {
    this.#known.set(messageId, fromId);
  }

  /** Messages were read; false where the server must be asked what that leaves. */
  read(messageIds: readonly string[]): boolean {
    this.#outdated = true;
    let all = true;
    for (const id of messageIds) {
      const peer = this.#known.get(id);
      if (peer === undefined) {
        all = false;
        continue;
      }
      this.#known.delete(id);
      this.total = Math.max(0, this.total - 1);
      this.byPeer.set(peer, Math.max(0, this.of(peer) - 1));
    }
    this.changed();
    return all;
  }

  /** Another leader counts: this is what it found. */
  mirror(total: number, byPeer: ReadonlyMap<number, number>): void {
    this.total = total;
    this.byPeer = new Map(byPeer);
  }

  /** Nothing is counted for whoever it was any more. */
  reset(): void {
    this.#owner = {};
    this.#loading = undefined;
    this.mirror(0, new Map());
    this.#known.clear();
    this.#counted.clear();
    this.changed();
  }

  async #reload(): Promise<void> {
    const owner = this.#owner;
    // What came in or was read while the answer was on its way may be in it or not. After
    // a few rounds of a busy inbox the next reload has to do.
    for (let rounds = 0; this.#outdated && rounds < 3; rounds++) {
      this.#outdated = false;
      const byPeer = new Map<number, number>();
      const newest = new Map<number, number>();
      let counted = 0;
      let page: ConversationPage | undefined;
      for (let pages = 0; pages < PAGES && page?.next !== null; pages++) {
        page = await this.load(page?.next);
        if (owner !== this.#owner) return;
        for (const { peerId, unread, lastMessage } of page.conversations) {
          if (unread) byPeer.set(peerId, unread);
          // Of one's own messages the ids are those of another inbox.
          if (lastMessage.fromId === peerId) newest.set(peerId, Number(lastMessage.messageId));
          counted += unread;
        }
        // The rest has nothing unread.
        if (counted >= page.unreadTotal) break;
      }
      this.mirror(page?.unreadTotal ?? 0, byPeer);
      this.#counted = newest;
      this.changed();
    }
  }
}
