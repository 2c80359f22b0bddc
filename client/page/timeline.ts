// One conversation: the part of it that is loaded, and the part of that which is shown.
//
// Three things stand one after the other: pages, in the order that the server's history
// has; live messages, that came since; and the outbox. A part of them is in the document,
// which does not grow with the conversation.

import type { Client, Message, Outgoing } from "imserver-client";
import { MANY_UNREAD, loadOpening } from "./opening";
import { LOADED, PAGE, Pages } from "./pages";
import { timeOf } from "./times";

/** Messages in the document: several screens, and few enough to lay out within a frame. */
const SHOWN = 160;
/** How many come into the document at once when one scrolls near its edge. */
const STEP = 40;
/** Live messages before they are taken from the history, as pages that can be dropped. */
const LIVE = 300;

/** A message as it is shown. */
export interface Item {
  /** The same from the outbox to the read receipt, so that the bubble stays the same too. */
  key: string;
  content: string;
  at: number;
  mine: boolean;
  state: "pending" | "failed" | "stored" | "read";
  /** Written to us, and not marked as read. */
  unread: boolean;
  /** In the outbox only. */
  outgoing?: Outgoing;
}

type Entry = Message | Outgoing;

const isOutgoing = (entry: Entry): entry is Outgoing => "createdAt" in entry;
const place = (toId: number, messageId: string) => `${toId}:${messageId}`;

export class Timeline {
  /** Whether the newest message is to stay in sight; the view sets it as one scrolls. */
  pinned = true;
  /**
   * Whether the newest message of all was in the document when it was last drawn. Not
   * asked anew: one that came since is no reason to think that somebody scrolled away.
   */
  atNewest = false;
  /** The first message that was new when one began to read. */
  divider: string | null = null;
  /** Whether unread messages stand above the view, as one left them by going to the newest. */
  leftUnread = false;
  /** Where the view is to scroll, once; while nobody looks, again with all that comes. */
  goTo: string | null = null;
  loading = false;
  failed = false;

  readonly #pages = new Pages();
  #live: Message[] = [];
  /** Gone from the outbox and not told to be stored yet: shown on, or it would flicker. */
  #leaving: Outgoing[] = [];
  #outbox: Outgoing[];
  #muchUnread = false;
  #from = 0;
  #to = 0;
  /** A load whose number is no longer this one has been overtaken. */
  #load = 0;
  /** How often one has gone to the newest, by oneself or by writing: what was under way leaves one there. */
  #turns = 0;
  /** Our own names of messages, by place in an inbox: the history does not know them. */
  readonly #names = new Map<string, string>();
  /** Receipts that came before their message did. */
  readonly #early = new Set<string>();

  constructor(
    readonly peerId: number,
    private readonly userId: number,
    private readonly client: Client,
    private readonly unread: () => number,
    private readonly changed: () => void,
  ) {
    this.#outbox = this.#ours();
  }

  // What is shown.

  get #messages(): Message[] {
    return [...this.#pages.messages, ...this.#live];
  }

  get #entries(): Entry[] {
    if (!this.#pages.atEnd) return this.#pages.messages;
    const messages = this.#messages;
    const stored = new Set(messages.slice(-LIVE).map((message) => this.#key(message)));
    const outgoing = [...this.#leaving, ...this.#outbox];
    return [...messages, ...outgoing.filter((one) => !stored.has(one.clientMsgId))];
  }

  /** The items that are in the document. */
  items(): Item[] {
    const entries = this.#entries;
    if (this.pinned && this.#pages.atEnd) {
      this.#to = entries.length;
      this.#from = Math.max(0, this.#to - SHOWN + STEP);
    }
    this.atNewest = this.#pages.atEnd && this.#to >= entries.length;
    return entries.slice(this.#from, this.#to).map((entry) => this.#item(entry));
  }

  /** Whether the first message of all is in the document. */
  get atBeginning(): boolean {
    return this.#from === 0 && this.#pages.older === null;
  }

  /** Whether more was unread than one scrolls back to, and not all of it is read yet. */
  get muchUnread(): boolean {
    const unread = this.unread();
    this.#muchUnread = unread > MANY_UNREAD || (this.#muchUnread && unread > 0);
    return this.#muchUnread;
  }

  /** Whether unread messages are loaded that stand before those in the document. */
  get unreadBefore(): boolean {
    return this.#messages.slice(0, this.#from).some((message) => message.toId === this.userId && !message.read);
  }

  get isEmpty(): boolean {
    return this.#pages.atEnd && this.#entries.length === 0;
  }

  #key(message: Message): string {
    const at = place(message.toId, message.messageId);
    return message.clientMsgId ?? this.#names.get(at) ?? at;
  }

  #item(entry: Entry): Item {
    if (isOutgoing(entry)) {
      const { clientMsgId: key, content, createdAt: at, state } = entry;
      return { key, content, at, state, mine: true, unread: false, outgoing: entry };
    }
    const mine = entry.fromId === this.userId;
    return {
      key: this.#key(entry),
      content: entry.content,
      at: timeOf(entry),
      mine,
      state: entry.read ? "read" : "stored",
      unread: entry.toId === this.userId && !entry.read,
    };
  }

  // Moving.

  /** More of what stands before, as one scrolls up. */
  showOlder(): void {
    if (this.#from > 0) {
      this.#from = Math.max(0, this.#from - STEP);
      this.#to = Math.min(this.#to, this.#from + SHOWN);
      this.changed();
    }
    if (this.#from < STEP) void this.#loadOlder();
  }

  /** More of what comes after, as one scrolls down. */
  showNewer(): void {
    const length = this.#entries.length;
    if (this.#to < length) {
      this.#to = Math.min(length, this.#to + STEP);
      this.#from = Math.max(this.#from, this.#to - SHOWN);
      this.changed();
    }
    if (!this.#pages.atEnd && this.#to > length - STEP) void this.#loadNewer();
  }

  /** Back to the newest message. */
  showNewest(): void {
    this.#turns++;
    this.pinned = true;
    this.goTo = null;
    if (this.#pages.atEnd) this.changed();
    else void this.#openAtNewest();
  }

  /** Loads the conversation and shows the first unread message, or else the newest. */
  async open(): Promise<void> {
    await this.#openAtNewest(true);
  }

  /** Loads what came while nothing did: after a break of the connection. */
  async catchUp(): Promise<void> {
    if (this.#pages.areNone) return this.open();
    // Elsewhere than at the end, what came will be met on the way down.
    if (!this.#pages.atEnd) return;
    const known = new Set(this.#messages.map((message) => this.#key(message)));
    const isNews = (entry: Entry) => this.#item(entry).unread && !known.has(this.#item(entry).key);
    const turns = this.#turns;
    await this.#loadNewest();
    // More may have come than is in sight at the end; but whoever writes looks at that.
    const writes = turns !== this.#turns || this.#outbox.some((one) => one.state === "pending");
    if (this.pinned && !writes && !this.#dividerIsAhead()) this.#goToFirst(isNews);
  }

  async #loadNewest(): Promise<void> {
    if (this.#pages.newer === null) await this.#openAtNewest();
    else await this.#loading(() => this.#loadTail(LOADED / PAGE));
  }

  // Loading. One page is on its way at a time; only opening overtakes another.

  async #loading(load: (current: () => boolean) => Promise<void>): Promise<void> {
    const number = ++this.#load;
    const current = () => this.#load === number;
    this.loading = true;
    this.failed = false;
    this.changed();
    try {
      await load(current);
    } catch {
      if (current()) this.failed = true;
    }
    if (!current()) return;
    this.loading = false;
    this.changed();
  }

  async #openAtNewest(atUnread = false): Promise<void> {
    const turns = this.#turns;
    const isWanted = (unread: number) => atUnread && turns === this.#turns && unread <= MANY_UNREAD;
    await this.#loading(async (current) => {
      const before = new Set<Entry>([...this.#live, ...this.#leaving]);
      const opening = await loadOpening(this.client, this.peerId, this.userId, this.unread, isWanted);
      if (!current()) return;
      this.#pages.replace(opening.pages);
      this.#settleLive(before);
      this.pinned = true;
      this.#early.clear();
      if (opening.atUnread()) this.#goToFirst((entry) => this.#item(entry).unread);
    });
  }

  #goToFirst(isNews: (entry: Entry) => boolean): void {
    const entries = this.#entries;
    const first = entries.findIndex(isNews);
    if (first < 0) return;
    this.divider = this.goTo = this.#item(entries[first]!).key;
    this.pinned = false;
    this.#from = Math.max(0, first - STEP);
    this.#to = Math.min(entries.length, this.#from + SHOWN);
  }

  async #loadOlder(): Promise<void> {
    const before = this.#pages.older;
    if (this.loading || this.failed || typeof before !== "string") return;
    await this.#loading(async (current) => {
      const page = await this.client.history(this.peerId, { limit: PAGE, before });
      if (!current()) return;
      this.#learn(page.messages);
      this.#pages.addOlder(page);
      this.#from += page.messages.length;
      this.#to += page.messages.length;
      this.#pages.dropNewest(this.#to);
      if (!this.#pages.atEnd) this.#live = [];
    });
  }

  async #loadNewer(): Promise<void> {
    if (this.loading || this.failed) return;
    await this.#loading(() => this.#loadTail(1));
  }

  /** Loads up to so many pages behind the last one. */
  async #loadTail(pages: number): Promise<void> {
    const number = this.#load;
    while (pages-- > 0) {
      const after = this.#pages.newer;
      if (typeof after !== "string") return;
      const before = new Set<Entry>([...this.#live, ...this.#leaving]);
      const page = await this.client.history(this.peerId, { limit: PAGE, after });
      if (this.#load !== number) return;
      this.#pages.addNewer(page);
      this.#settleLive(before);
      this.#dropOldest();
      if (this.#pages.atEnd) return;
    }
  }

  /**
   * Keeps of the live messages those that came since the last page was asked for and are
   * not in it. What had come `before` is in the history: in the pages, or behind them.
   */
  #settleLive(before: ReadonlySet<Entry>): void {
    const messages = this.#pages.messages;
    this.#learn(messages);
    const paged = new Set(messages.map((message) => place(message.toId, message.messageId)));
    const isNews = (message: Message) =>
      !before.has(message) && !paged.has(place(message.toId, message.messageId));
    this.#live = this.#pages.atEnd ? this.#live.filter(isNews) : [];
    this.#leaving = this.#leaving.filter((one) => !before.has(one));
  }

  /** Takes over what was heard of loaded messages before they came. */
  #learn(messages: Message[]): void {
    for (const message of messages) {
      if (this.#early.has(place(message.toId, message.messageId))) message.read = true;
    }
  }

  #dropOldest(): void {
    const from = this.pinned ? this.#pages.messages.length - SHOWN : this.#from;
    const gone = this.#pages.dropOldest(from);
    this.#from -= gone;
    this.#to -= gone;
  }

  /** Tries again what could not be loaded. */
  tryAgain(): void {
    this.failed = false;
    if (this.#pages.areNone) void this.open();
    else if (this.#pages.atEnd) void this.#loadOlder();
    else void this.#loadNewer();
  }

  // What happens meanwhile.

  #ours(): Outgoing[] {
    return this.client.outbox.filter((one) => one.toId === this.peerId);
  }

  /** The outbox has changed: what was pending and is gone from it has been stored. */
  outboxChanged(): void {
    const now = this.#ours();
    const names = new Set(now.map((one) => one.clientMsgId));
    const gone = this.#outbox.filter((one) => one.state === "pending" && !names.has(one.clientMsgId));
    this.#leaving.push(...gone);
    this.#outbox = now;
  }

  /** A message that came in, or was stored. `inSight`: the reader sees it come. */
  add(message: Message, inSight: boolean): void {
    const at = place(message.toId, message.messageId);
    if (message.clientMsgId !== undefined) {
      this.#names.set(at, message.clientMsgId);
      this.#leaving = this.#leaving.filter((one) => one.clientMsgId !== message.clientMsgId);
    }
    if (!this.#pages.atEnd && !this.loading) return;
    if (this.#messages.some((known) => place(known.toId, known.messageId) === at)) return;
    const added = this.#early.delete(at) ? { ...message, read: true } : { ...message };
    this.#live.push(added);
    if (added.fromId === this.userId) this.divider = this.goTo = null;
    else if (!inSight && !this.#dividerIsAhead()) {
      this.divider = this.#key(added);
      // It stays in sight, however much follows before somebody looks.
      if (this.pinned) this.goTo = this.divider;
    }
    if (this.#live.length > LIVE && this.#pages.atEnd && !this.loading) void this.#loadNewest();
  }

  /** Whether what stands behind the divider is still unread. */
  #dividerIsAhead(): boolean {
    if (this.divider === null) return false;
    const marked = this.#messages.find((message) => this.#key(message) === this.divider);
    return marked !== undefined && !marked.read;
  }

  /** `readerId` has read these messages. */
  read(readerId: number, messageIds: Iterable<string>, read = true): void {
    const places = new Set<string>();
    for (const id of messageIds) places.add(place(readerId, id));
    for (const message of this.#messages) {
      const at = place(message.toId, message.messageId);
      if (places.delete(at)) message.read = read;
    }
    if (read && readerId === this.peerId) for (const at of places) this.#early.add(at);
  }

  /** The ids of those unread messages among `keys`. */
  unreadAmong(keys: ReadonlySet<string>): string[] {
    return this.#messages
      .filter((message) => this.#item(message).unread && keys.has(this.#key(message)))
      .map((message) => message.messageId);
  }

  /** The newest message to us, for marking everything. */
  get newestToUs(): string | null {
    return this.#messages.findLast((message) => message.toId === this.userId)?.messageId ?? null;
  }

  /** Marks everything that is loaded as read, for the eye. */
  allRead(): void {
    for (const message of this.#messages) {
      if (message.toId === this.userId) message.read = true;
    }
    this.divider = null;
    this.#muchUnread = false;
  }
}
