// The lines of the list, and how a page of conversations is taken over into them.

import type { Conversation, ConversationPage, Message } from "imserver-client";

/** One line of the list. */
export interface Line {
  peerId: number;
  userName: string;
  /** Null: nobody has written yet. */
  last: Message | null;
  /** When the list was loaded. */
  unread: number;
}

/**
 * The lines with `page` in them: the newest conversations, or with `further` those behind
 * the ones that are there. `known` is what stood last in each line when it was asked for.
 * `more` is undefined where the list goes on as it did before.
 */
export function merge(
  before: readonly Line[],
  known: ReadonlyMap<number, Message | null>,
  page: ConversationPage,
  further: boolean,
): { lines: Line[]; more: string | null | undefined } {
  const loaded = new Map<number, Line>();
  for (const { peerId, userName, unread, lastMessage: last } of page.conversations) {
    loaded.set(peerId, { peerId, userName, unread, last });
  }
  // What was written since is newer than the answer, and stands before it.
  const news: Line[] = [];
  const others: Line[] = [];
  for (const line of before) {
    const answer = loaded.get(line.peerId);
    if (line.last !== known.get(line.peerId)) {
      news.push({ ...line, userName: line.userName || answer?.userName || "" });
      loaded.delete(line.peerId);
    } else if (!answer) others.push(line);
  }
  const isKnown = ({ peerId, lastMessage: { messageId, toId } }: Conversation) => {
    const last = known.get(peerId);
    return last?.messageId === messageId && last.toId === toId;
  };
  if (further) return { lines: [...news, ...others, ...loaded.values()], more: page.next };
  // Where the newest page does not reach what is known, the list begins anew with it.
  const anew = !page.conversations.some(isKnown);
  const kept = anew ? others.filter((line) => line.last === null) : others;
  return {
    lines: [...news, ...loaded.values(), ...kept],
    more: anew || page.next === null ? page.next : undefined,
  };
}
