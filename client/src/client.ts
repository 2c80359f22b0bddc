// The client as a page sees it: what it calls and hears, in whichever tab it runs.
//
// One tab of the browser leads: it has the socket, sends what all have written and tells the
// others what it hears. Where tabs cannot share, each leads.

import { Calls, type Me } from "./calls.js";
import { type Clock, machineClock } from "./clock.js";
import { Events } from "./events.js";
import { Failure, SignedOut } from "./failure.js";
import { Http } from "./http.js";
import { Inbox } from "./inbox.js";
import { Link } from "./link.js";
import { News } from "./news.js";
import { Post } from "./post.js";
import { type Storage, open } from "./storage.js";
import { listen } from "./surroundings.js";
import { type Note, Tabs, canShare } from "./tabs.js";
import { Tokens } from "./tokens.js";
import type {
  ClientEvents,
  ClientInterface,
  ClientOptions,
  ConversationPage,
  HistoryPage,
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

export class Client implements ClientInterface {
  #events: Events;
  #calls: Calls;
  #tokens: Tokens;
  #http: Http;
  #link: Link;
  #post: Post;
  #inbox: Inbox;
  #unread: Unread;
  #news: News;
  #clock: Clock;
  #tabs: Tabs;
  /** What is kept, once it is known whose; undefined while stopped. */
  #storage: Promise<Storage> | undefined;
  #loggedOut = false;
  #typed = new Map<number, number>();
  #deafen = () => {};

  constructor(options: ClientOptions, clock: Clock = machineClock()) {
    const socket = options.WebSocket ?? globalThis.WebSocket;
    // Later it would look like a server that is away.
    if (!socket) throw new TypeError("there is no WebSocket here: give the client one");
    if (options.url === undefined && typeof location !== "object") throw new TypeError("outside of pages the client needs a url");
    const base = (options.url ?? location.origin).replace(/\/+$/, "");
    this.#clock = clock;
    const share = (options.shareSocket ?? true) && canShare();
    this.#tabs = new Tabs(share, (note) => void this.#note(note));
    this.#tokens = new Tokens(options.getToken);
    this.#events = new Events(clock);
    const fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    this.#http = new Http(base, this.#tokens, fetch, clock);
    this.#calls = new Calls(this.#http, clock);
    this.#inbox = new Inbox(async (cursor) => (await this.#storage)?.setCursor(cursor));
    const me = () => this.userId;
    this.#post = new Post(
      clock,
      {
        tabs: this.#tabs,
        inbox: this.#inbox,
        link: () => this.#link,
        news: () => this.#news,
        storage: () => this.#storage,
        me,
      },
      (list) => this.#events.emit("outbox", list),
    );
    this.#link = new Link(
      base.replace(/^http/, "ws"),
      options.transport ?? "ticket",
      this.#tokens,
      this.#http,
      socket as typeof WebSocket,
      clock,
      {
        opened: () => this.#post.sender.opened(),
        heard: (frame) => this.#heard(frame),
        lost: () => this.#post.sender.lost(),
        tooBig: () => this.#post.sender.tooBig(),
        state: (state, reason) => this.#linkState(state, reason),
        after: async () => (await this.#storage)?.cursor(),
      },
    );
    this.#unread = new Unread(
      (cursor) => this.conversations({ limit: 100, ...(cursor && { cursor }) }),
      () => this.#news.counted(),
    );
    this.#news = new News(this.#events, this.#inbox, this.#unread, this.#tabs, me, clock);
  }

  get state(): State {
    return this.#news.state;
  }

  get userId(): number | null {
    return this.#tokens.userId;
  }

  get outbox(): readonly Outgoing[] {
    return this.#post.outbox.list;
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
    this.#news.setState("connecting", "");
    const storage = this.#identify();
    this.#storage = storage;
    const isOn = () => this.#storage === storage;
    storage.then(
      (kept) => {
        if (isOn()) this.#join(kept);
      },
      (why) => {
        if (isOn()) this.#end("signed-out", why instanceof SignedOut ? why.reason : String(why));
      },
    );
    this.#listen();
  }

  close(): void {
    this.#leave();
    this.#post.outbox.rejectAll(new Failure("closed", "the client was closed; what waits is kept"));
    this.#news.setState("signed-out", "closed");
  }

  async logout(): Promise<void> {
    // Stopped or not there yet, but other tabs and what is kept may well be.
    if (this.userId !== null) this.#tabs.open(this.#owner);
    this.#tabs.tellAll({ is: "logout" });
    await this.#wipe();
  }

  send(toId: number, content: string): Promise<Stored> {
    if (this.#loggedOut) return Promise.reject(new SignedOut("logout"));
    return this.#post.send(toId, content);
  }

  retry(clientMsgId: string): void {
    this.#post.retry(clientMsgId);
  }

  discard(clientMsgId: string): void {
    this.#post.discard(clientMsgId);
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
    if (this.#tabs.leads) this.#sendTyping(toId);
    else this.#tabs.tell({ is: "typing", toId });
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
        // The page's own backend cannot be reached now, or gives something else.
        if (this.#storage !== mine) throw new SignedOut("closed");
        this.#news.setState("connecting", why instanceof Failure ? why.code : "offline");
        await new Promise<void>((done) => void this.#clock.after(NO_TOKEN, done));
        if (this.#storage !== mine) throw new SignedOut("closed");
      }
    }
    return open(this.#kept, this.#clock);
  }

  /** Whose everything is that is kept: of one user of one server. */
  get #kept(): string {
    return `${this.#http.base} ${this.userId}`;
  }

  /** The tabs that share it. */
  get #owner(): string {
    return `imserver ${this.#kept}`;
  }

  #join(storage: Storage): void {
    this.#tabs.join(this.#owner, () => void this.#lead(storage));
    if (this.#tabs.share) void this.#post.read(storage);
  }

  async #lead(storage: Storage): Promise<void> {
    await this.#post.read(storage);
    if (!this.#tabs.leads) return;
    this.#post.lead();
    this.#link.start();
  }

  #leave(): void {
    this.#tabs.leave();
    this.#link.stop();
    this.#post.sender.clear();
    this.#storage = undefined;
    this.#deafen();
  }

  /** This tab has reached its end; the next one may have a better token. */
  #end(state: "signed-out" | "failed", reason: string): void {
    this.#leave();
    if (state === "signed-out") this.#post.outbox.rejectAll(new SignedOut(reason));
    this.#news.setState(state, reason);
  }

  #linkState(state: State, reason: string): void {
    if (state === "signed-out" || state === "failed") this.#end(state, reason);
    else this.#news.setState(state, reason);
  }

  async #wipe(): Promise<void> {
    const kept = this.userId === null ? undefined : this.#kept;
    this.#leave();
    this.#loggedOut = true;
    this.#tokens.forget();
    this.#inbox.reset();
    this.#unread.reset();
    this.#post.outbox.clear();
    this.#post.outbox.rejectAll(new SignedOut("logout"));
    this.#news.setState("signed-out", "logout");
    if (kept) await (await open(kept, this.#clock)).wipe().catch(() => {});
  }

  /** What another tab says. */
  async #note(note: Note): Promise<void> {
    if (note.is === "logout") return this.#wipe();
    switch (note.is) {
      case "event":
        return this.#news.mirror(note.name, note.detail);
      case "send":
      case "stored":
      case "failed":
      case "gone":
        return this.#post.note(note);
      case "typing":
        if (this.#tabs.leads) this.#sendTyping(note.toId);
        return;
      case "hello":
        if (this.#tabs.leads) this.#news.repeat();
        return;
      case "awake":
        if (!this.#tabs.leads) return;
        this.#clock.catchUp?.();
        if (!note.overdue) this.#link.wake();
    }
  }

  /** What the socket says. */
  #heard(frame: Heard): void {
    switch (frame.kind) {
      case "success":
      case "failure":
        return this.#post.heard(frame);
      case "message":
        // Our own, sent on a socket that broke: the answer to its resend tells.
        if (frame.clientMsgId && this.#post.sender.has(frame.clientMsgId)) return;
        return this.#news.message(frame);
      case "read":
        return this.#news.read(frame);
      case "typing":
        return this.#news.tell("typing", { fromId: frame.fromId });
      case "upToDate":
        return this.#news.upToDate(frame);
    }
  }

  #listen(): void {
    this.#deafen = listen(this.#clock, {
      network: (isThere) => this.#link.network(isThere),
      seen: () => {
        // The word that the network is back may have been missed while nobody looked.
        if (navigator.onLine) this.#link.network(true);
        else this.#link.wake();
        if (!this.#tabs.leads) this.#tabs.tell({ is: "awake", overdue: false });
      },
      // A hidden leader's timers are held back: whoever waits for them wakes it.
      tick: this.#tabs.share ? () => this.#hurry() : undefined,
      // Such a page must not lead.
      putAside: () => this.#leave(),
      back: () => {
        this.connect();
        this.#events.emit("reload", {});
      },
    });
  }

  #hurry(): void {
    const waits = this.state !== "online" || this.#post.outbox.pending.length > 0;
    if (!this.#tabs.leads && waits) this.#tabs.tell({ is: "awake", overdue: true });
  }
}
