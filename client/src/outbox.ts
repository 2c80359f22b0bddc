// What was written here and is not stored yet: as it is shown, as it is kept, and who waits
// for it.

import { Failure } from "./failure.js";
import type { Kept, Storage } from "./storage.js";
import type { Outgoing, Stored } from "./types.js";

interface Waiting {
  resolve(stored: Stored): void;
  reject(why: Failure): void;
}

export class Outbox {
  /** In the order of writing. */
  #list: Kept[] = [];
  /** What is stored or discarded stays so, whatever is still being read. */
  #gone = new Set<string>();
  #waiting = new Map<string, Waiting>();
  #lastCreated = 0;

  constructor(
    /** Where it is kept; nothing while that is not known. */
    private readonly storage: () => Promise<Storage> | undefined,
    private readonly changed: (list: Outgoing[]) => void,
  ) {}

  get list(): Kept[] {
    return this.#list;
  }

  get pending(): Kept[] {
    return this.#list.filter((one) => one.state === "pending");
  }

  find(clientMsgId: string): Kept | undefined {
    return this.#list.find((one) => one.clientMsgId === clientMsgId);
  }

  /** A new message, behind all others. */
  write(toId: number, content: string): Kept {
    // Rising, so that the order of the outbox is the order of writing.
    const createdAt = (this.#lastCreated = Math.max(Date.now(), this.#lastCreated + 1));
    const message: Kept = {
      clientMsgId: newName(),
      toId,
      // Half a character is none, and no server takes it.
      content: content.replace(/\p{Surrogate}/gu, "\uFFFD"),
      timestamp: String(Math.floor(createdAt / 1000)),
      createdAt,
      state: "pending",
      sent: false,
    };
    this.show(message);
    return message;
  }

  /** Waits until it is stored, or failed. */
  settled({ clientMsgId }: Kept): Promise<Stored> {
    const settled = new Promise<Stored>((resolve, reject) => {
      this.#waiting.set(clientMsgId, { resolve, reject });
    });
    // Whoever looks at the outbox alone need not look at every promise too.
    settled.catch(() => {});
    return settled;
  }

  /** Puts a message into the list, in its place, or changes it there. */
  show(message: Kept): void {
    const { clientMsgId } = message;
    if (this.#gone.has(clientMsgId)) return;
    const others = this.#list.filter((one) => one.clientMsgId !== clientMsgId);
    this.#set([...others, message]);
  }

  /** A message that failed is on its way once more; nothing where there is none such. */
  revive(clientMsgId: string): Kept | undefined {
    const failed = this.find(clientMsgId);
    if (failed?.state !== "failed") return undefined;
    const { code, reason, ...rest } = failed;
    const message: Kept = { ...rest, state: "pending", sent: true };
    this.show(message);
    return message;
  }

  /** A message failed, and stays until somebody decides. */
  async fail(message: Kept, code: string, reason: string): Promise<void> {
    const failed: Kept = { ...message, state: "failed", code, reason };
    this.show(failed);
    this.reject(message.clientMsgId, code, reason);
    await (await this.storage())?.put(failed).catch(() => {});
  }

  /** The same in another tab, which keeps it. */
  failedElsewhere(clientMsgId: string, code: string, reason: string): void {
    const message = this.find(clientMsgId);
    if (message) this.show({ ...message, state: "failed", code, reason });
    this.reject(clientMsgId, code, reason);
  }

  resolve(stored: Stored): void {
    this.#taken(stored.clientMsgId)?.resolve(stored);
  }

  reject(clientMsgId: string, code: string, reason: string): void {
    this.#taken(clientMsgId)?.reject(new Failure(code, reason));
  }

  #taken(clientMsgId: string): Waiting | undefined {
    const waiting = this.#waiting.get(clientMsgId);
    this.#waiting.delete(clientMsgId);
    return waiting;
  }

  rejectAll(why: Failure): void {
    for (const waiting of this.#waiting.values()) waiting.reject(why);
    this.#waiting.clear();
  }

  /** A message is stored or discarded. */
  async forget(clientMsgId: string): Promise<void> {
    this.#gone.add(clientMsgId);
    this.#set(this.#list.filter((one) => one.clientMsgId !== clientMsgId));
    await (await this.storage())?.remove(clientMsgId).catch(() => {});
  }

  /** Shows nothing more; what is kept stays. */
  clear(): void {
    this.#set([]);
  }

  /**
   * Shows what is kept, and keeps what was written before it was known for whom: each of
   * those is told to `added`.
   */
  async read(storage: Storage, added: (message: Kept) => void): Promise<void> {
    const kept = await storage.outbox().catch((): Kept[] => []);
    const names = new Set(kept.map((one) => one.clientMsgId));
    const here = this.#list.filter((one) => !names.has(one.clientMsgId));
    for (const message of here) {
      if (!this.storage()) return;
      await storage.put(message).catch(() => {});
      added(message);
    }
    const all = [...kept.map((one) => ({ ...one, sent: true })), ...here];
    const there = all.filter((one) => !this.#gone.has(one.clientMsgId));
    this.#lastCreated = Math.max(this.#lastCreated, ...there.map((one) => one.createdAt));
    this.#set(there);
  }

  #set(list: Kept[]): void {
    this.#list = list.sort((a, b) => a.createdAt - b.createdAt);
    this.changed(this.#list);
  }
}

/** A name that no other message has. Pages that came without TLS have no `crypto.randomUUID`. */
function newName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
