// The way of a message out, in whichever tab it is written: into the outbox, where it survives,
// then to the tab that leads, which sends it; and what became of it back to all of them.

import type { Clock } from "./clock.js";
import { Failure } from "./failure.js";
import type { Inbox } from "./inbox.js";
import type { Link } from "./link.js";
import type { News } from "./news.js";
import { Outbox } from "./outbox.js";
import { Sender } from "./sender.js";
import type { Kept, Storage } from "./storage.js";
import type { Note, Tabs } from "./tabs.js";
import type { Message, Outgoing, Stored } from "./types.js";
import type { Heard } from "./wire.js";

/** What a message meets on its way. */
export interface Stations {
  tabs: Tabs;
  inbox: Inbox;
  link(): Link;
  news(): News;
  /** What is kept; undefined while stopped. */
  storage(): Promise<Storage> | undefined;
  me(): number | null;
}

export class Post {
  readonly outbox: Outbox;
  readonly sender: Sender;

  constructor(
    clock: Clock,
    private readonly at: Stations,
    changed: (list: Outgoing[]) => void,
  ) {
    this.outbox = new Outbox(() => at.storage(), changed);
    this.sender = new Sender(clock, {
      send: (said) => at.link().send(said),
      stored: (message, messageId) => void this.#stored(message, messageId),
      failed: (message, code, reason) => void this.#failed(message, code, reason),
      silent: () => at.link().renew(),
      heardAt: () => at.link().heardAt,
    });
  }

  send(toId: number, content: string): Promise<Stored> {
    if (!(Number.isSafeInteger(toId) && toId > 0)) {
      return Promise.reject(new Failure("bad_recipient", "there is no such user"));
    }
    const message = this.outbox.write(toId, content);
    const settled = this.outbox.settled(message);
    void this.#dispatch(message);
    return settled;
  }

  retry(clientMsgId: string): void {
    const message = this.outbox.revive(clientMsgId);
    if (message) void this.#dispatch(message);
  }

  discard(clientMsgId: string): void {
    if (this.outbox.find(clientMsgId)?.state !== "failed") return;
    void this.outbox.forget(clientMsgId);
    this.at.tabs.tellAll({ is: "gone", clientMsgId });
  }

  /** Shows what is kept, and keeps and tells what was written before. */
  read(storage: Storage): Promise<void> {
    return this.outbox.read(storage, (message) => this.at.tabs.tell({ is: "send", message }));
  }

  /** This tab leads: what an earlier page left may have gone out from there. */
  lead(): void {
    for (const message of this.outbox.pending) this.sender.add(message);
  }

  /** What the socket says of messages that went out. */
  heard(frame: Heard): void {
    if (frame.kind === "success") {
      // Better late than never: it was given up already.
      const late = this.outbox.find(frame.clientMsgId ?? "");
      if (late?.state === "failed") return void this.#stored(late, frame.messageId ?? "");
    }
    this.sender.heard(frame);
  }

  /** What another tab says of them. */
  async note(note: Extract<Note, { is: "send" | "stored" | "failed" | "gone" }>): Promise<void> {
    switch (note.is) {
      case "send":
        this.outbox.show(note.message);
        if (this.at.tabs.leads) this.sender.add(note.message);
        return;
      case "stored":
        this.outbox.resolve(note.stored);
        return this.outbox.forget(note.stored.clientMsgId);
      case "failed":
        return this.outbox.failedElsewhere(note.clientMsgId, note.code, note.reason);
      case "gone":
        return this.outbox.forget(note.clientMsgId);
    }
  }

  /** Puts a message where it survives, then on its way. */
  async #dispatch(message: Kept): Promise<void> {
    const mine = this.at.storage();
    // Without one it stays here until `connect`, which reads and keeps it.
    if (!mine) return;
    const storage = await mine.catch(() => undefined);
    const isOn = () => this.at.storage() === mine;
    // Nothing is written behind a logout.
    if (isOn()) await storage?.put(message).catch(() => {});
    if (!isOn()) return;
    if (this.at.tabs.leads) this.sender.add(message);
    // The others show it too, and one of them may lead.
    this.at.tabs.tell({ is: "send", message });
  }

  async #stored(message: Outgoing, messageId: string): Promise<void> {
    const { clientMsgId, toId, content, timestamp } = message;
    const stored: Stored = { messageId, clientMsgId, toId };
    const fromId = this.at.me() ?? 0;
    const shown: Message = { messageId, fromId, toId, content, timestamp, read: false, clientMsgId };
    this.at.inbox.wrote(shown);
    // Told before it is forgotten: a leader that dies in between leaves one message to be
    // sent again under its name, and nobody who waits for ever.
    this.at.tabs.tell({ is: "stored", stored });
    this.outbox.resolve(stored);
    const forgotten = this.outbox.forget(clientMsgId);
    this.at.news().tell("stored", { ...stored, message: shown });
    await forgotten;
  }

  #failed(message: Kept, code: string, reason: string): Promise<void> {
    this.at.tabs.tell({ is: "failed", clientMsgId: message.clientMsgId, code, reason });
    return this.outbox.fail(message, code, reason);
  }
}
