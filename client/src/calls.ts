// What a page asks the server for by itself: who it is, lists, history, marks.

import type { Clock } from "./clock.js";
import { Failure } from "./failure.js";
import type { Http } from "./http.js";
import type { ConversationPage, HistoryPage } from "./types.js";

/** Marks that come together go out together. */
const GATHER = 50;
/** The server takes so many ids at once. */
const IDS = 1000;

export interface Me {
  userId: number;
  userName: string;
  headURL: string;
  expiresAt: number;
}

export class Calls {
  #marks: { ids: Set<string>; done: Promise<void> } | undefined;

  constructor(
    private readonly http: Http,
    private readonly clock: Clock,
  ) {}

  me(): Promise<Me> {
    return this.http.call("GET", "me");
  }

  conversations(options: { limit?: number; cursor?: string }): Promise<ConversationPage> {
    return this.http.call("GET", "conversations" + query(options));
  }

  async history(
    peerId: number,
    options: { limit?: number; before?: string; after?: string },
  ): Promise<HistoryPage> {
    try {
      return await this.http.call("GET", `conversations/${peerId}/messages${query(options)}`);
    } catch (why) {
      // Nobody has written yet.
      if (why instanceof Failure && why.code === "unknown_peer") {
        return { messages: [], older: null, newer: null };
      }
      throw why;
    }
  }

  markRead(messageIds: string[]): Promise<void> {
    if (!this.#marks) {
      const ids = new Set<string>();
      const gathered = new Promise<void>((done) => void this.clock.after(GATHER, done));
      const done = gathered.then(() => this.#send(ids));
      done.catch(() => {});
      this.#marks = { ids, done };
    }
    for (const id of messageIds) this.#marks.ids.add(id);
    return this.#marks.done;
  }

  async #send(ids: Set<string>): Promise<void> {
    this.#marks = undefined;
    const all = [...ids];
    for (let at = 0; at < all.length; at += IDS) {
      await this.http.call("POST", "read", { ids: all.slice(at, at + IDS) });
    }
  }

  markReadUpTo(peerId: number, messageId: string): Promise<void> {
    return this.http.call("POST", "read", { peerId, upTo: messageId });
  }
}

function query(options: Record<string, string | number | undefined>): string {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return given.length ? `?${text}` : "";
}
