// What is loaded of a conversation's history: whole pages, with a cursor at each end.
//
// Pages are dropped at one end while one reads at the other, so that memory does not grow
// with the conversation.

import type { HistoryPage, Message } from "imserver-client";

/** A page: the most that the server gives. */
export const PAGE = 100;
/** Messages in memory. */
export const LOADED = 1000;

export class Pages {
  /** Whether they reach the newest message. */
  atEnd = false;
  #list: HistoryPage[] = [];

  get messages(): Message[] {
    return this.#list.flatMap((page) => page.messages);
  }

  get areNone(): boolean {
    return this.#list.length === 0;
  }

  /** The cursor to what stands before; null at the beginning, undefined where there is none. */
  get older(): string | null | undefined {
    return this.#list[0]?.older;
  }

  /** The cursor to what comes after; null where nobody has written yet. */
  get newer(): string | null | undefined {
    return this.#list.at(-1)?.newer;
  }

  /** Begins anew with the newest ones. */
  replace(pages: HistoryPage[]): void {
    this.#list = pages;
    this.atEnd = true;
  }

  addOlder(page: HistoryPage): void {
    this.#list.unshift(page);
  }

  /** Short ones are joined: whoever is told of every message asks for few at a time. */
  addNewer(page: HistoryPage): void {
    const last = this.#list.at(-1);
    if (!last || last.messages.length + page.messages.length > PAGE) this.#list.push(page);
    else {
      last.messages.push(...page.messages);
      last.newer = page.newer ?? last.newer;
    }
    this.atEnd = page.messages.length < PAGE;
  }

  /** Drops the last pages of too many, as far as nothing of them is shown: that is up to message `to`. */
  dropNewest(to: number): void {
    while (this.#areTooMany && to <= this.#count - this.#list.at(-1)!.messages.length) {
      this.#list.pop();
      this.atEnd = false;
    }
  }

  /** The same at the other end, where message `from` is the first one shown; how many messages went. */
  dropOldest(from: number): number {
    let gone = 0;
    while (this.#areTooMany && from - gone >= this.#list[0]!.messages.length) {
      gone += this.#list.shift()!.messages.length;
    }
    return gone;
  }

  get #count(): number {
    return this.#list.reduce((sum, page) => sum + page.messages.length, 0);
  }

  get #areTooMany(): boolean {
    return this.#list.length > 1 && this.#count > LOADED;
  }
}
