// What is loaded when a conversation is opened: the newest page, and where somebody is to begin
// at the first unread message, the pages back to that.

import type { Client, HistoryPage, Message } from "imserver-client";
import { PAGE } from "./pages";

/** Unread messages up to which a conversation opens at the first one. */
export const MANY_UNREAD = 400;

/**
 * Loads them, oldest first. `unread` is how many the client has counted, which after a reload
 * is none yet: then the messages themselves have to say it. `isWanted` is asked, with as many
 * as are known, whether one is still to begin there; it is in the answer for the last time.
 */
export async function loadOpening(
  client: Client,
  peerId: number,
  userId: number,
  unread: () => number,
  isWanted: (unread: number) => boolean,
): Promise<{ pages: HistoryPage[]; atUnread: () => boolean }> {
  const pages = [await client.history(peerId, { limit: PAGE })];
  const isUnread = (message: Message) => message.toId === userId && !message.read;
  const found = () => pages.reduce((sum, page) => sum + page.messages.filter(isUnread).length, 0);
  const atUnread = () => isWanted(Math.max(found(), unread()));
  // More may be unread before a page whose first message to us is.
  const goesOn = () =>
    found() < unread() || pages[0]!.messages.find((message) => message.toId === userId)?.read === false;
  while (atUnread() && goesOn() && pages[0]!.older !== null && pages.length <= MANY_UNREAD / PAGE) {
    pages.unshift(await client.history(peerId, { limit: PAGE, before: pages[0]!.older }));
  }
  return { pages, atUnread };
}
