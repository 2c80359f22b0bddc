// The client as a page sees it: what it calls and hears, in whichever tab it runs.
//
// One tab of the browser leads: it has the socket, empties the outbox and tells the others
// what it hears. All tabs write into the same outbox. Where tabs cannot share, each leads.

import { Calls, type Me } from "./calls.js";
import { type Clock, machineClock } from "./clock.js";
import { Events } from "./events.js";
import { Failure, SignedOut } from "./failure.js";
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
/** Until there is a token, it is asked for again after so long. */
const NO_TOKEN = 2000;
/** So often a tab that is looked at wakes a hidden leader's timers, while it waits for them. */
const TICK = 2000;

/** What the tabs of a browser tell each other. */
type Note =
  | { is: "event"; name: keyof ClientEvents; detail: unknown }
  | { is: "send"; message: Kept }
  | { is: "gone"; clientMsgId: string }
  | { is: "stored"; stored: Stored }
  | { is: "failed"; clientMsgId: string; code: string; reason: string }
  | { is: "typing"; toId: number }
  | { is: "hello" }
  /** A tab is looked at; `overdue`: and waits for the leader's timers. */
  | { is: "awake"; overdue: boolean }
  | { is: "logout" };

interface Waiting {
  resolve(stored: Stored): void;
  reject(why: Failure): void;
}

export class Client implements ClientInterface {
  #state: State = "connecting";
  #reason = "";
  #events: Events;
  #calls: Calls;
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
  #loggedOut = false;
  #outbox: Kept[] = [];
  /** What is stored or discarded stays so, whatever is still being read. */
  #gone = new Set<string>();
  #waiting = new Map<string, Waiting>();
  #lastCreated = 0;
  #typed = new Map<number, number>();
  #deaf: (() => void)[] = [];

  constructor(options: ClientOptions, clock: Clock = machineClock()) {
    const base = (options.url ?? location.origin).replace(/\/+$/, "");
    this.#clock = clock;
    this.#share = (options.shareSocket ?? true) && canShare();
    this.#tokens = new Tokens(options.getToken);
    this.#events = new Events(clock);
    const fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    this.#http = new Http(base, this.#tokens, fetch, clock);
    this.#calls = new Calls(this.#http, clock);
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
        tooBig: () => this.#sender.tooBig(),
        state: (state, reason) => this.#linkState(state, reason),
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
    return this.#events.on(name, listener);
  }

  connect(): void {
    if (this.#storage) return;
    this.#loggedOut = false;
    this.#setState("connecting", "");
    const storage = this.#identify();
    this.#storage = storage;
    const isOn = () => this.#storage === storage;
    storage.then(
      (kept) => {
        if (isOn()) void this.#join(kept);
      },
      (why) => {
        if (isOn()) this.#end("signed-out", why instanceof SignedOut ? why.reason : String(why));
      },
    );
    this.#listen();
  }

  close(): void {
    this.#leave();
    this.#rejectAll(new Failure("closed", "the client was closed; what waits is kept"));
    this.#setState("signed-out", "closed");
  }

  async logout(): Promise<void> {
    if (this.#channel === noChannel) {
      // Stopped or not there yet, but other tabs and what is kept may well be.
      if (this.userId !== null) this.#openChannel();
    }
    this.#channel.post({ is: "logout" });
    await this.#wipe();
  }

  send(toId: number, content: string): Promise<Stored> {
    if (this.#loggedOut) return Promise.reject(new SignedOut("logout"));
    if (!(Number.isSafeInteger(toId) && toId > 0)) {
      return Promise.reject(new Failure("bad_recipient", "there is no such user"));
    }
    const clientMsgId = crypto.randomUUID();
    // Rising, so that the order of the outbox is the order of writing.
    const createdAt = (this.#lastCreated = Math.max(Date.now(), this.#lastCreated + 1));
    const message: Kept = {
      clientMsgId,
      toId,
      // Half a character is none, and no server takes it.
      content: content.replace(/\p{Surrogate}/gu, "\uFFFD"),
      timestamp: String(Math.floor(createdAt / 1000)),
      createdAt,
      state: "pending",
      sent: false,
    };
    this.#show(message);
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
    this.#show(message);
    void this.#dispatch(message);
  }

  discard(clientMsgId: string): void {
    if (this.#outbox.find((one) => one.clientMsgId === clientMsgId)?.state !== "failed") return;
    void this.#forget(clientMsgId);
    this.#channel.post({ is: "gone", clientMsgId });
  }

  me(): Promise<Me> {
    return this.#calls.me();
  }

  conversations(options: { limit?: number; cursor?: string } = {}): Promise<ConversationPage> {
    return this.#calls.conversations(options);
  }

  async history(
    peerId: number,
    options: { limit?: number; before?: string; after?: string } = {},
  ): Promise<HistoryPage> {
    const page = await this.#calls.history(peerId, options);
    for (const { messageId, fromId, toId, read } of page.messages) {
      if (!read && toId === this.userId) this.#unread.know(messageId, fromId);
    }
    return page;
  }

  markRead(messageIds: string[]): Promise<void> {
    return this.#calls.markRead(messageIds);
  }

  markReadUpTo(peerId: number, messageId: string): Promise<void> {
    return this.#calls.markReadUpTo(peerId, messageId);
  }

  typing(toId: number): void {
    const now = this.#clock.now();
    if (now - (this.#typed.get(toId) ?? -TYPING) < TYPING) return;
    this.#typed.set(toId, now);
    if (this.#leads) this.#sendTyping(toId);
    else this.#post({ is: "typing", toId });
  }

  #sendTyping(toId: number): void {
    this.#link.send({ kind: "typing", toId, timestamp: String(Date.now()) });
  }

  /** Finds out who it is, and opens what is kept of them. */
  async #identify(): Promise<Storage> {
    // Not before `connect` has noted what it waits for.
    await undefined;
    const mine = this.#storage;
    for (;;) {
      try {
        await this.#tokens.get();
        break;
      } catch (why) {
        if (why instanceof SignedOut) throw why;
        // The page's own backend cannot be reached now.
        await new Promise<void>((done) => void this.#clock.after(NO_TOKEN, done));
        if (this.#storage !== mine) throw new SignedOut("closed");
      }
    }
    return open(this.#owner);
  }

  get #owner(): string {
    return `${this.#http.base} ${this.userId}`;
  }

  async #join(storage: Storage): Promise<void> {
    this.#openChannel();
    if (!this.#share) return this.#lead(storage);
    this.#stepDown = waitToLead(`imserver ${this.#owner}`, () => void this.#lead(storage));
    this.#channel.post({ is: "hello" });
    await this.#readOutbox(storage);
  }

  #openChannel(): void {
    this.#channel = openChannel<Note>(`imserver ${this.#owner}`, (note) => void this.#note(note));
  }

  async #lead(storage: Storage): Promise<void> {
    this.#leads = true;
    await this.#readOutbox(storage);
    if (!this.#leads) return;
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
    this.#stepDown = () => {};
    this.#channel.close();
    this.#channel = noChannel;
    this.#storage = undefined;
    for (const stop of this.#deaf.splice(0)) stop();
  }

  /** This tab has reached its end; the next one may have a better token. */
  #end(state: "signed-out" | "failed", reason: string): void {
    this.#leave();
    if (state === "signed-out") this.#rejectAll(new SignedOut(reason));
    this.#setState(state, reason);
  }

  #linkState(state: State, reason: string): void {
    if (state === "signed-out" || state === "failed") this.#end(state, reason);
    else this.#setState(state, reason);
  }

  async #wipe(): Promise<void> {
    const owner = this.userId === null ? undefined : this.#owner;
    this.#leave();
    this.#loggedOut = true;
    this.#tokens.forget();
    this.#inbox.reset();
    this.#unread.reset();
    this.#outbox = [];
    this.#events.emit("outbox", this.#outbox);
    this.#rejectAll(new SignedOut("logout"));
    this.#setState("signed-out", "logout");
    if (owner) await (await open(owner)).wipe().catch(() => {});
  }

  #rejectAll(why: Failure): void {
    for (const waiting of this.#waiting.values()) waiting.reject(why);
    this.#waiting.clear();
  }

  /** Puts a message where it survives, then on its way. */
  async #dispatch(message: Kept): Promise<void> {
    const mine = this.#storage;
    // Without one it stays here until `connect`, which reads and keeps it.
    if (!mine) return;
    const storage = await mine.catch(() => undefined);
    const isOn = () => this.#storage === mine;
    // Nothing is written behind a logout.
    if (isOn()) await storage?.put(message).catch(() => {});
    if (!isOn()) return;
    if (this.#leads) this.#sender.add(message);
    // The others show it too, and one of them may lead.
    this.#post({ is: "send", message });
  }

  async #stored(message: Outgoing, messageId: string): Promise<void> {
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
    this.#inbox.wrote(shown);
    // Told before it is forgotten: a leader that dies in between leaves one message to be
    // sent again under its name, and nobody who waits for ever.
    this.#post({ is: "stored", stored });
    this.#settle({ is: "stored", stored });
    const forgotten = this.#forget(clientMsgId);
    this.#tell("stored", { ...stored, message: shown });
    await forgotten;
  }

  async #failed(message: Kept, code: string, reason: string): Promise<void> {
    const failed: Kept = { ...message, state: "failed", code, reason };
    this.#post({ is: "failed", clientMsgId: message.clientMsgId, code, reason });
    this.#show(failed);
    this.#settle({ is: "failed", clientMsgId: message.clientMsgId, code, reason });
    await (await this.#storage)?.put(failed).catch(() => {});
  }

  #settle(note: Extract<Note, { is: "stored" | "failed" }>): void {
    const name = note.is === "stored" ? note.stored.clientMsgId : note.clientMsgId;
    const waiting = this.#waiting.get(name);
    this.#waiting.delete(name);
    if (note.is === "stored") waiting?.resolve(note.stored);
    else waiting?.reject(new Failure(note.code, note.reason));
  }

  /** Puts a message into the list, in its place, or changes it there. */
  #show(message: Kept): void {
    const { clientMsgId } = message;
    if (this.#gone.has(clientMsgId)) return;
    const others = this.#outbox.filter((one) => one.clientMsgId !== clientMsgId);
    this.#outbox = [...others, message].sort((a, b) => a.createdAt - b.createdAt);
    this.#events.emit("outbox", this.#outbox);
  }

  async #forget(clientMsgId: string): Promise<void> {
    this.#gone.add(clientMsgId);
    this.#outbox = this.#outbox.filter((one) => one.clientMsgId !== clientMsgId);
    this.#events.emit("outbox", this.#outbox);
    await (await this.#storage)?.remove(clientMsgId).catch(() => {});
  }

  /** Shows what is kept, and keeps what was written before it was known for whom. */
  async #readOutbox(storage: Storage): Promise<void> {
    const kept = await storage.outbox().catch((): Kept[] => []);
    const names = new Set(kept.map((one) => one.clientMsgId));
    const here = this.#outbox.filter((one) => !names.has(one.clientMsgId));
    for (const message of here) {
      if (!this.#storage) return;
      await storage.put(message).catch(() => {});
      this.#post({ is: "send", message });
    }
    const all = [...kept.map((one) => ({ ...one, sent: true })), ...here];
    this.#outbox = all
      .filter((one) => !this.#gone.has(one.clientMsgId))
      .sort((a, b) => a.createdAt - b.createdAt);
    this.#lastCreated = Math.max(this.#lastCreated, this.#outbox.at(-1)?.createdAt ?? 0);
    this.#events.emit("outbox", this.#outbox);
  }

  /** Says it to the other tabs, where they share. */
  #post(note: Note): void {
    if (this.#share) this.#channel.post(note);
  }

  /** What another tab says. */
  async #note(note: Note): Promise<void> {
    if (note.is === "logout") return this.#wipe();
    if (!this.#share) return;
    switch (note.is) {
      case "event":
        return this.#mirror(note.name, note.detail);
      case "send":
        this.#show(note.message);
        if (this.#leads) this.#sender.add(note.message);
        return;
      case "stored":
        this.#settle(note);
        return this.#forget(note.stored.clientMsgId);
      case "failed": {
        const { clientMsgId, code, reason } = note;
        const message = this.#outbox.find((one) => one.clientMsgId === clientMsgId);
        if (message) this.#show({ ...message, state: "failed", code, reason });
        return this.#settle(note);
      }
      case "gone":
        return this.#forget(note.clientMsgId);
      case "typing":
        if (this.#leads) this.#sendTyping(note.toId);
        return;
      case "hello":
        if (!this.#leads) return;
        this.#tellOthers("state", { state: this.#state, reason: this.#reason });
        this.#tellOthers("unread", { total: this.unread, byPeer: this.#unread.byPeer });
        return;
      case "awake":
        if (!this.#leads) return;
        this.#clock.catchUp?.();
        if (!note.overdue) this.#link.wake();
    }
  }

  /** The leader's news are this tab's too. */
  #mirror(name: keyof ClientEvents, detail: unknown): void {
    if (name === "state") {
      const { state, reason } = detail as ClientEvents["state"];
      return this.#setState(state, reason);
    }
    if (name === "unread") {
      const { total, byPeer } = detail as ClientEvents["unread"];
      this.#unread.mirror(total, byPeer);
    }
    // The inbox may have begun anew, with lower ids.
    if (name === "reload") this.#inbox.reset();
    if (name === "stored") this.#inbox.wrote((detail as ClientEvents["stored"]).message);
    if (name === "message" && !this.#inbox.isNews(detail as Message, this.userId)) return;
    this.#events.emit(name, detail as never);
  }

  /** What the socket says. */
  #heard(frame: Heard): void {
    switch (frame.kind) {
      case "success": {
        // Better late than never: it was given up already.
        const late = this.#outbox.find((one) => one.clientMsgId === frame.clientMsgId);
        if (late?.state === "failed") return void this.#stored(late, frame.messageId ?? "");
        return this.#sender.heard(frame);
      }
      case "failure":
        return this.#sender.heard(frame);
      case "message": {
        const { kind: _, ...rest } = frame;
        const message: Message = { ...rest, read: false };
        // Our own, sent on a socket that broke: the answer to its resend tells.
        const ours = !!frame.clientMsgId && this.#sender.has(frame.clientMsgId);
        if (ours || !this.#inbox.isNews(message, this.userId)) return;
        // What is replayed may have been read elsewhere: it is counted when all is there.
        if (message.toId === this.userId && this.#state === "online") this.#unread.add(message);
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
        this.#inbox.upToDate(frame.head, !frame.complete);
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
  }

  /** Tells this tab, and the others where this one leads. */
  #tell<K extends keyof ClientEvents>(name: K, detail: ClientEvents[K]): void {
    if (this.#leads) this.#tellOthers(name, detail);
    this.#events.emit(name, detail);
  }

  #tellOthers<K extends keyof ClientEvents>(name: K, detail: ClientEvents[K]): void {
    this.#post({ is: "event", name, detail });
  }

  /** Listens to the browser: is there a network, is the page looked at? */
  #listen(): void {
    if (typeof addEventListener !== "function") return;
    const listen = (target: EventTarget, name: string, hear: (event: Event) => void) => {
      target.addEventListener(name, hear);
      this.#deaf.push(() => target.removeEventListener(name, hear));
    };
    listen(globalThis, "online", () => this.#link.network(true));
    listen(globalThis, "offline", () => this.#link.network(false));
    listen(globalThis, "pagehide", (event) => {
      if ((event as PageTransitionEvent).persisted) this.#freeze();
    });
    if (typeof document !== "object") return;
    const isSeen = () => document.visibilityState === "visible";
    listen(document, "visibilitychange", () => {
      if (!isSeen()) return;
      // The word that the network is back may have been missed while nobody looked.
      if (navigator.onLine) this.#link.network(true);
      else this.#link.wake();
      if (!this.#leads) this.#post({ is: "awake", overdue: false });
    });
    if (!this.#share) return;
    let stop = () => {};
    const tick = () => {
      const waits = this.#state !== "online" || this.#outbox.some((one) => one.state === "pending");
      if (!this.#leads && waits && isSeen()) this.#post({ is: "awake", overdue: true });
      stop = this.#clock.after(TICK, tick);
    };
    tick();
    this.#deaf.push(() => stop());
  }

  /** A page that the browser puts aside must not lead; when it comes back, much is old. */
  #freeze(): void {
    this.#leave();
    addEventListener("pageshow", () => {
      this.connect();
      this.#events.emit("reload", {});
    }, { once: true });
  }
}
