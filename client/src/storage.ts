// What outlives a reload: the outbox and the cursor, for each user of each server.

import type { Clock } from "./clock.js";
import type { Outgoing } from "./types.js";

/** Some browsers' IndexedDB never answers until they are restarted: so long it has to. */
const OPENING = 10_000;

/** A message on its way, as it is kept. */
export interface Kept extends Outgoing {
  /** It has gone out on some socket: whoever sends it next must say that it is a resend. */
  sent: boolean;
}

export interface Storage {
  /** Everything in the outbox, oldest first. */
  outbox(): Promise<Kept[]>;
  /** Adds or changes; done means that a crash does not lose it. */
  put(message: Kept): Promise<void>;
  remove(clientMsgId: string): Promise<void>;
  cursor(): Promise<string | undefined>;
  setCursor(cursor: string): Promise<void>;
  wipe(): Promise<void>;
}

/** For programs without IndexedDB, and for browsers that forbid it or whose own is stuck. */
export class Memory implements Storage {
  #outbox = new Map<string, Kept>();
  #cursor: string | undefined;

  async outbox(): Promise<Kept[]> {
    return [...this.#outbox.values()].map((message) => ({ ...message }));
  }
  async put(message: Kept): Promise<void> {
    this.#outbox.set(message.clientMsgId, { ...message });
  }
  async remove(clientMsgId: string): Promise<void> {
    this.#outbox.delete(clientMsgId);
  }
  async cursor(): Promise<string | undefined> {
    return this.#cursor;
  }
  async setCursor(cursor: string): Promise<void> {
    this.#cursor = cursor;
  }
  async wipe(): Promise<void> {
    this.#outbox.clear();
    this.#cursor = undefined;
  }
}

/** Opens what is kept of `owner`, which names server and user. */
export async function open(owner: string, clock: Clock): Promise<Storage> {
  let inTime = () => {};
  const tooLong = new Promise<Storage>((resolve) => {
    inTime = clock.after(OPENING, () => resolve(new Memory()));
  });
  try {
    return await Promise.race([Database.open(owner), tooLong]);
  } catch {
    return new Memory();
  } finally {
    inTime();
  }
}

const done = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

class Database implements Storage {
  private constructor(
    private readonly db: IDBDatabase,
    private readonly owner: string,
  ) {}

  static async open(owner: string): Promise<Database> {
    const request = indexedDB.open("imserver", 1);
    request.onupgradeneeded = () => {
      // Keys are [owner, ...]: one user never sees another's.
      request.result.createObjectStore("outbox");
      request.result.createObjectStore("cursor");
    };
    const db = await done(request);
    // Another tab with a newer version of this client must not wait for us.
    db.onversionchange = () => db.close();
    return new Database(db, owner);
  }

  /** Everything of the owner in a store. */
  get #mine(): IDBKeyRange {
    return IDBKeyRange.bound([this.owner], [this.owner, []]);
  }

  async outbox(): Promise<Kept[]> {
    const kept: Kept[] = await done(
      this.db.transaction("outbox").objectStore("outbox").getAll(this.#mine),
    );
    return kept.sort((a, b) => a.createdAt - b.createdAt);
  }

  put(message: Kept): Promise<void> {
    const key = [this.owner, message.clientMsgId];
    return this.#write("outbox", (store) => store.put(message, key), "strict");
  }

  // What these two lose in a crash is done again, and known to the server.
  remove(clientMsgId: string): Promise<void> {
    return this.#write("outbox", (store) => store.delete([this.owner, clientMsgId]));
  }

  setCursor(cursor: string): Promise<void> {
    return this.#write("cursor", (store) => store.put(cursor, [this.owner]));
  }

  async cursor(): Promise<string | undefined> {
    return done(this.db.transaction("cursor").objectStore("cursor").get([this.owner]));
  }

  async wipe(): Promise<void> {
    await this.#write("outbox", (store) => store.delete(this.#mine), "strict");
    await this.#write("cursor", (store) => store.delete(this.#mine), "strict");
  }

  async #write(
    name: string,
    work: (store: IDBObjectStore) => IDBRequest,
    durability: IDBTransactionDurability = "relaxed",
  ): Promise<void> {
    const transaction = this.db.transaction(name, "readwrite", { durability });
    work(transaction.objectStore(name));
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }
}
