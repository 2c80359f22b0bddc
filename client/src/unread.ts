// How many messages are unread, by peer: counted by the server, kept in step here.

import type { Conversation, ConversationPage, Message } from "./types.js";

/** More conversations than this are not counted one by one. */
const PAGES = 10;

export class Unread {
  total = 0;
  byPeer = new Map<number, number>();
  /** Unread messages that were seen here, and whose they are. */
  #known = new Map<string, number>();

  constructor(
    private readonly load: (cursor?: string) => Promise<ConversationPage>,
    private readonly changed: () => void,
  ) {}

  of(peerId: number): number {
    return this.byPeer.get(peerId) ?? 0;
  }

  /** Asks the server. */
  async reload(): Promise<void> {
    const byPeer = new Map<number, number>();
    let page: ConversationPage | undefined;
    for (let pages = 0; pages < PAGES && page?.next !== null; pages++) {
      page = await this.load(page?.next);
      for (const { peerId, unread } of page.conversations as Conversation[]) {
        if (unread) byPeer.set(peerId, unread);
      }
    }
    this.total = page?.unreadTotal ?? 0;
    this.byPeer = byPeer;
    this.changed();
  }

  /** A message came in. */
  add({ messageId, fromId }: Message): void {
    this.#known.set(messageId, fromId);
    this.total += 1;
    this.byPeer.set(fromId, this.of(fromId) + 1);
    this.changed();
  }

  /** Notes whose an unread message is, so that its mark can be taken off without asking. */
  know(messageId: string, fromId: number): void {
    this.#known.set(messageId, fromId);
  }

  /** Messages were read; false where the server must be asked what that leaves. */
  read(messageIds: readonly string[]): boolean {
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
}
