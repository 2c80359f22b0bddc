// The client as a page sees it: what it calls and hears, in whichever tab it runs.
//
// One tab of the browser leads: it has the socket, empties the outbox and tells the others
// what it hears. All tabs write into the same outbox. Where tabs cannot share, each leads.

import { type Clock, realClock } from "./clock.js";
import { Failure, isSignedOut, signedOut } from "./failure.js";
import { Http } from "./http.js";
import { Inbox } from "./inbox.js";
import { Link } from "./link.js";
import { Sender } from "./sender.js";
import { type Kept, type Storage, open } from "./storage.js";
import { type Channel, canShare, noChannel, openChannel, waitToLead } from "./tabs.js";
import { Tokens } from "./tokens.js";
import type {
  ClientEvents,
  ClientInterface,
  ClientOptions,
  ConversationPage,
  HistoryPage,
  Message,
  Outgoing,
  State,
  Stored,
} from "./types.js";
import { Unread } from "./unread.js";
import type { Heard } from "./wire.js";

/** Typing is told once in so long. */
const TYPING = 3000;
/** Marks that come together go out together. */
const GATHER = 50;
/** The server takes so many ids at once. */
const IDS = 1000;
/** Until there is a token, it is asked for again after so long. */
const NO_TOKEN = 2000;

/** What the tabs of a browser tell each other. */
type Note =
  | { is: "event"; name: keyof ClientEvents; detail: unknown }
  | { is: "send"; message: Kept }
  | { is: "outbox" }
  | { is: "stored"; stored: Stored }
  | { is: "failed"; clientMsgId: string; code: string; reason: string }
  | { is: "typing"; toId: number }
  | { is: "hello" }
  | { is: "logout" };

type Listeners = { [K in keyof ClientEvents]: Set<(detail: ClientEvents[K]) => void> };

interface Waiting {
  resolve(stored: Stored): void;
  reject(why: Failure): void;
}

export class Client implements ClientInterface {
  #state: State = "connecting";
  #reason = "";
  #listeners = {} as Listeners;
  #tokens: Tokens;
  #http: Http;
  #link: Link;
  #sender: Sender;
  #inbox: Inbox;
  #unread: Unread;
  #clock: Clock;
  #share: boolean;
  /** What is kept, once it is known whose; undefined while stopped. */
  #storage: Promise<Storage> | undefined;
  #channel: Channel<Note> = noChannel;
  #stepDown = () => {};
  #leads = false;
  #outbox: Kept[] = [];
  #waiting = new Map<string, Waiting>();
  #lastCreated = 0;
  #typed = new Map<number, number>();
  #marks: { ids: Set<string>; done: Promise<void> } | undefined;
  #deaf: (() => void)[] = [];

  constructor(options: ClientOptions, clock: Clock = realClock) {
    const base = (options.url ?? location.origin).replace(/\/+$/, "");
    this.#clock = clock;
    this.#share = (options.shareSocket ?? true) && canShare();
    this.#tokens = new Tokens(options.getToken);
    const pause = (ms: number) => new Promise<void>((done) => void clock.after(ms, done));
    const fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    this.#http = new Http(base, this.#tokens, fetch, pause);
    this.#sender = new Sender(clock, {
      send: (said) => this.#link.send(said),
      stored: (message, messageId) => void this.#stored(message, messageId),
      failed: (message, code, reason) => void this.#failed(message, code, reason),
      silent: () => this.#link.renew(),
      heardAt: () => this.#link.heardAt,
    });
    this.#inbox = new Inbox(async (cursor) => (await this.#storage)?.setCursor(cursor));
    this.#link = new Link(
      base.replace(/^http/, "ws"),
      options.transport ?? "ticket",
      this.#tokens,
      this.#http,
      options.WebSocket ?? globalThis.WebSocket,
      clock,
      {
        opened: () => this.#sender.opened(),
        heard: (frame) => this.#heard(frame),
        lost: () => this.#sender.lost(),
        state: (state, reason) => this.#setState(state, reason),
        after: async () => (await this.#storage)?.cursor(),
      },
    );
    this.#unread = new Unread(
      (cursor) => this.conversations({ limit: 100, ...(cursor && { cursor }) }),
      () => this.#tell("unread", { total: this.#unread.total, byPeer: this.#unread.byPeer }),
    );
  }

  get state(): State {
    return this.#state;
  }

  get userId(): number | null {
    return this.#tokens.userId;
  }

  get outbox(): readonly Outgoing[] {
    return this.#outbox;
  }

  get unread(): number {
    return this.#unread.total;
  }

  unreadOf(peerId: number): number {
    return this.#unread.of(peerId);
  }

  on<K extends keyof ClientEvents>(name: K, listener: (detail: ClientEvents[K]) => void) {
    const listeners = (this.#listeners[name] ??= new Set() as Listeners[K]);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  connect(): void {
    if (this.#storage) {
      if (this.#leads) this.#link.start();
      return;
    }
    const storage = this.#identify();
    this.#storage = storage;
    storage
      .then((kept) => {
        if (this.#storage === storage) return this.#join(kept);
      })
      .catch((why) => {
        if (this.#storage !== storage) return;
        this.#leave();
        this.#rejectAll(why);
        this.#setState("signed-out", why.message);
      });
    this.#listen();
  }

  close(): void {
    this.#leave();
    this.#rejectAll(new Failure("closed", "the client was closed; what waits is kept"));
    this.#setState("signed-out", "closed");
  }

  async logout(): Promise<void> {
    this.#channel.post({ is: "logout" });
    await this.#wipe();
  }

  send(toId: number, content: string): Promise<Stored> {
    const clientMsgId = crypto.randomUUID();
    // Rising, so that the order of the outbox is the order of writing.
    const createdAt = (this.#lastCreated = Math.max(Date.now(), this.#lastCreated + 1));
    const message: Kept = {
      clientMsgId,
      toId,
      content,
      timestamp: String(Math.floor(createdAt / 1000)),
      createdAt,
      state: "pending",
      sent: false,
    };
    this.#outbox = [...this.#outbox, message];
    this.#emit("outbox", this.#outbox);
    const settled = new Promise<Stored>((resolve, reject) => {
      this.#waiting.set(clientMsgId, { resolve, reject });
    });
    // Whoever looks at the outbox alone need not look at every promise too.
    settled.catch(() => {});
    void this.#dispatch(message);
    return settled;
  }

  retry(clientMsgId: string): void {
    const failed = this.#outbox.find((one) => one.clientMsgId === clientMsgId);
    if (failed?.state !== "failed") return;
    const { code, reason, ...rest } = failed;
    const message: Kept = { ...rest, state: "pending", sent: true };
    this.#outbox = this.#outbox.map((one) => (one === failed ? message : one));
    this.#emit("outbox", this.#outbox);
    void this.#dispatch(message);
  }

  discard(clientMsgId: string): void {
    void this.#forget(clientMsgId).then(() => this.#channel.post({ is: "outbox" }));
  }

  me(): Promise<{ userId: number; userName: string; headURL: string; expiresAt: number }> {
    return this.#http.call("GET", "me");
  }

  conversations(options: { limit?: number; cursor?: string } = {}): Promise<ConversationPage> {
    return this.#http.call("GET", "conversations" + query(options));
  }

  async history(
    peerId: number,
    options: { limit?: number; before?: string; after?: string } = {},
  ): Promise<HistoryPage> {
    try {
      const path = `conversations/${peerId}/messages${query(options)}`;
      const page = await this.#http.call<HistoryPage>("GET", path);
      for (const { messageId, fromId, toId, read } of page.messages) {
        if (!read && toId === this.userId) this.#unread.know(messageId, fromId);
      }
      return page;
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
      const done = new Promise<void>((gathered) => void this.#clock.after(GATHER, gathered)).then(
        async () => {
          this.#marks = undefined;
          const all = [...ids];
          for (let at = 0; at < all.length; at += IDS) {
            await this.#http.call("POST", "read", { ids: all.slice(at, at + IDS) });
          }
        },
      );
      this.#marks = { ids, done };
    }
    for (const id of messageIds) this.#marks.ids.add(id);
    return this.#marks.done;
  }

  markReadUpTo(peerId: number, messageId: string): Promise<void> {
    return this.#http.call("POST", "read", { peerId, upTo: messageId });
  }

  typing(toId: number): void {
    const now = this.#clock.now();
    if (now - (this.#typed.get(toId) ?? -TYPING) < TYPING) return;
    this.#typed.set(toId, now);
    if (this.#leads) this.#link.send({ kind: "typing", toId, timestamp: String(Date.now()) });
    else this.#channel.post({ is: "typing", toId });
  }

  /** Finds out who it is, and opens what is kept of them. */
  async #identify(): Promise<Storage> {
    this.#setState("connecting", "");
    for (;;) {
      try {
        await this.#tokens.get();
        break;
      } catch (why) {
        if (isSignedOut(why)) throw why;
        // The page's own backend cannot be reached now.
        await new Promise<void>((done) => void this.#clock.after(NO_TOKEN, done));
      }
    }
    return open(this.#owner);
  }

  get #owner(): string {
    return `${this.#http.base} ${this.userId}`;
  }

  async #join(storage: Storage): Promise<void> {
    const name = `imserver ${this.#owner}`;
    if (this.#share) {
      this.#channel = openChannel<Note>(name, (note) => void this.#note(note));
      this.#stepDown = waitToLead(name, () => void this.#lead(storage));
      this.#channel.post({ is: "hello" });
      await this.#readOutbox(storage);
    } else {
      await this.#lead(storage);
    }
  }

  async #lead(storage: Storage): Promise<void> {
    this.#leads = true;
    await this.#readOutbox(storage);
    // What an earlier page left may have gone out from there.
    for (const message of this.#outbox) {
      if (message.state === "pending") this.#sender.add(message);
    }
    this.#link.start();
  }

  #leave(): void {
    this.#leads = false;
    this.#link.stop();
    this.#sender.clear();
    this.#stepDown();
    this.#channel.close();
    this.#channel = noChannel;
    this.#storage = undefined;
    for (const stop of this.#deaf.splice(0)) stop();
  }

  async #wipe(): Promise<void> {
    const storage = await this.#storage?.catch(() => undefined);
    this.#leave();
    await storage?.wipe();
    this.#tokens.forget();
    this.#inbox.reset();
    this.#outbox = [];
    this.#emit("outbox", this.#outbox);
    this.#rejectAll(signedOut("logout"));
    this.#setState("signed-out", "logout");
  }

  #rejectAll(why: Failure): void {
    for (const waiting of this.#waiting.values()) waiting.reject(why);
    this.#waiting.clear();
  }

  /** Puts a message where it survives, then on its way. */
  async #dispatch(message: Kept): Promise<void> {
    const storage = await this.#storage?.catch(() => undefined);
    await storage?.put(message).catch(() => {});
    if (this.#leads) {
      this.#sender.add(message);
      this.#channel.post({ is: "outbox" });
    } else {
      this.#channel.post({ is: "send", message });
    }
  }

  async #stored(message: Kept, messageId: string): Promise<void> {
    const { clientMsgId, toId, content, timestamp } = message;
    const stored: Stored = { messageId, clientMsgId, toId };
    const shown: Message = {
      messageId,
      fromId: this.userId ?? 0,
      toId,
      content,
      timestamp,
      read: false,
      clientMsgId,
    };
    await this.#forget(clientMsgId);
    this.#settle({ is: "stored", stored });
    this.#channel.post({ is: "stored", stored });
    this.#tell("stored", { ...stored, message: shown });
  }

  async #failed(message: Kept, code: string, reason: string): Promise<void> {
    const failed: Kept = { ...message, state: "failed", code, reason };
    const { clientMsgId } = message;
    this.#outbox = this.#outbox.map((one) => (one.clientMsgId === clientMsgId ? failed : one));
    this.#emit("outbox", this.#outbox);
    await (await this.#storage)?.put(failed).catch(() => {});
    const note = { is: "failed", clientMsgId, code, reason } as const;
    this.#settle(note);
    this.#channel.post(note);
  }

  #settle(note: Extract<Note, { is: "stored" | "failed" }>): void {
    const name = note.is === "stored" ? note.stored.clientMsgId : note.clientMsgId;
    const waiting = this.#waiting.get(name);
    this.#waiting.delete(name);
    if (note.is === "stored") waiting?.resolve(note.stored);
    else waiting?.reject(new Failure(note.code, note.reason));
  }

  async #forget(clientMsgId: string): Promise<void> {
    this.#outbox = this.#outbox.filter((one) => one.clientMsgId !== clientMsgId);
    this.#emit("outbox", this.#outbox);
    await (await this.#storage)?.remove(clientMsgId).catch(() => {});
  }

  /** Shows what is kept, with what this tab has just written and not kept yet. */
  async #readOutbox(storage: Storage): Promise<void> {
    const kept = await storage.outbox();
    const names = new Set(kept.map((one) => one.clientMsgId));
    const fresh = this.#outbox.filter(
      (one) => !names.has(one.clientMsgId) && this.#waiting.has(one.clientMsgId),
    );
    this.#outbox = [...kept.map((one) => ({ ...one, sent: true })), ...fresh];
    this.#emit("outbox", this.#outbox);
  }

  /** What another tab says. */
  async #note(note: Note): Promise<void> {
    const storage = await this.#storage;
    switch (note.is) {
      case "event":
        return this.#mirror(note.name, note.detail);
      case "send":
        if (this.#leads) this.#sender.add(note.message);
        break;
      case "stored":
      case "failed":
        this.#settle(note);
        break;
      case "typing":
        if (this.#leads) {
          this.#link.send({ kind: "typing", toId: note.toId, timestamp: String(Date.now()) });
        }
        return;
      case "hello":
        if (!this.#leads) return;
        this.#tell("state", { state: this.#state, reason: this.#reason });
        this.#tell("unread", { total: this.unread, byPeer: this.#unread.byPeer });
        return;
      case "logout":
        return this.#wipe();
    }
    if (storage) await this.#readOutbox(storage);
  }

  /** The leader's news are this tab's too. */
  #mirror(name: keyof ClientEvents, detail: unknown): void {
    if (name === "state") {
      const { state, reason } = detail as ClientEvents["state"];
      // Whether it is over is for each tab to find out by its own token.
      if (state !== "signed-out" && state !== "failed") this.#setState(state, reason);
      return;
    }
    if (name === "unread") {
      const { total, byPeer } = detail as ClientEvents["unread"];
      this.#unread.total = total;
      this.#unread.byPeer = new Map(byPeer);
    }
    if (name === "message" && !this.#inbox.isNews(detail as Message, this.userId)) return;
    this.#emit(name, detail as never);
  }

  /** What the socket says. */
  #heard(frame: Heard): void {
    switch (frame.kind) {
      case "success":
      case "failure":
        return this.#sender.heard(frame);
      case "message": {
        const { kind: _, ...rest } = frame;
        const message: Message = { ...rest, read: false };
        if (!this.#inbox.isNews(message, this.userId)) return;
        // Our own, sent on a socket that broke: the answer to its resend tells.
        if (frame.clientMsgId && this.#sender.has(frame.clientMsgId)) return;
        if (message.toId === this.userId) this.#unread.add(message);
        this.#tell("message", message);
        return this.#inbox.taken(message, this.userId);
      }
      case "read": {
        const { fromId: readerId, messageIds } = frame;
        if (readerId === this.userId && !this.#unread.read(messageIds)) this.#recount();
        return this.#tell("read", { readerId, messageIds });
      }
      case "typing":
        return this.#tell("typing", { fromId: frame.fromId });
      case "upToDate":
        this.#inbox.upToDate(frame.head);
        this.#setState("online", "");
        this.#recount();
        if (!frame.complete) this.#tell("reload", {});
    }
  }

  #recount(): void {
    this.#unread.reload().catch(() => {});
  }

  #setState(state: State, reason: string): void {
    if (state === this.#state && reason === this.#reason) return;
    this.#state = state;
    this.#reason = reason;
    this.#tell("state", { state, reason });
    if (state === "signed-out") this.#rejectAll(signedOut(reason));
  }

  /** Tells this tab, and the others where this one leads. */
  #tell<K extends keyof ClientEvents>(name: K, detail: ClientEvents[K]): void {
    if (this.#leads) this.#channel.post({ is: "event", name, detail });
    this.#emit(name, detail);
  }

  #emit<K extends keyof ClientEvents>(name: K, detail: ClientEvents[K]): void {
    for (const listener of this.#listeners[name] ?? []) {
      try {
        listener(detail);
      } catch (why) {
        // A page's mistake is the page's to see, and nobody else's to suffer from.
        this.#clock.after(0, () => {
          throw why;
        });
      }
    }
  }

  /** Listens to the browser: is there a network, is the page looked at? */
  #listen(): void {
    if (typeof addEventListener !== "function") return;
    const listen = (target: EventTarget, name: string, hear: () => void) => {
      target.addEventListener(name, hear);
      this.#deaf.push(() => target.removeEventListener(name, hear));
    };
    listen(globalThis, "online", () => this.#link.wake());
    listen(globalThis, "offline", () => this.#link.sleep());
    listen(globalThis, "pageshow", () => this.#link.wake());
    if (typeof document === "object") {
      listen(document, "visibilitychange", () => {
        if (document.visibilityState === "visible") this.#link.wake();
      });
    }
  }
}

function query(options: Record<string, string | number | undefined>): string {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return given.length ? `?${text}` : "";
}
