// One socket's life: open, lost, open again; and when to give up.

import type { Clock } from "./clock.js";
import { Failure, isSignedOut } from "./failure.js";
import type { Http } from "./http.js";
import type { Tokens } from "./tokens.js";
import type { State } from "./types.js";
import { type Heard, type Said, read, write } from "./wire.js";

/** Back-off with full jitter: the n-th wait is anything up to BASE * 2^n, at most CAP. */
const BASE = 500;
const CAP = 30_000;
/** Connecting may take so long. */
const OPENING = 15_000;
/** A socket that was silent for so long is asked whether it lives when the page wakes up. */
const STALE = 30_000;
/** And has so long to answer. */
const PROBE = 5_000;
/** Whoever was sent away for misbehaving stays away. */
const PENANCE = 60_000;
/** Ends of our own making, in a row, after which trying is no use. */
const HOPELESS = 3;
/** A refresh comes when this part of what was left of the token is over. */
const REFRESH_AT = 0.8;

export interface LinkEvents {
  /** Frames may be sent: the server replays first. */
  opened(): void;
  heard(frame: Heard): void;
  /** Nothing more comes on this socket. */
  lost(): void;
  state(state: State, reason: string): void;
  /** The message behind which the server shall begin; undefined: with the unread ones. */
  after(): Promise<string | undefined>;
}

export class Link {
  /** Undefined while it is stopped. */
  #run: object | undefined;
  #socket: WebSocket | undefined;
  #tries = 0;
  #hopeless = 0;
  #heardAt = 0;
  #wait: (() => void) | undefined;
  #refresh: (() => void) | undefined;
  #probe: (() => void) | undefined;
  /** Refreshes that the server has not answered, by their timestamp. */
  #refreshing = new Map<string, string>();

  constructor(
    private readonly url: string,
    private readonly transport: "ticket" | "subprotocol",
    private readonly tokens: Tokens,
    private readonly http: Http,
    private readonly WebSocket: typeof globalThis.WebSocket,
    private readonly clock: Clock,
    private readonly events: LinkEvents,
  ) {}

  get isOpen(): boolean {
    return this.#socket?.readyState === 1;
  }

  /** When the server was heard last, by the clock. */
  get heardAt(): number {
    return this.#heardAt;
  }

  start(): void {
    if (this.#run) return;
    this.#run = {};
    this.#tries = this.#hopeless = 0;
    void this.#open();
  }

  stop(): void {
    this.#run = undefined;
    this.#cancel();
    this.#drop(1000);
  }

  send(said: Said): boolean {
    const me = this.tokens.userId;
    if (!this.isOpen || me === null) return false;
    this.#socket?.send(write(me, said));
    return true;
  }

  /** The network is back, or the page is looked at again: no waiting any more. */
  wake(): void {
    if (!this.#run) return;
    if (this.#wait) {
      this.#cancel();
      void this.#open();
    } else if (this.isOpen && this.clock.now() - this.#heardAt > STALE) {
      this.#ask();
    }
  }

  /** The browser says that there is no network. */
  sleep(): void {
    if (!this.#run) return;
    this.#cancel();
    this.#drop(1000);
    this.#wait = () => {};
    this.events.state("offline", "offline");
  }

  /** Ends this socket, which seems dead, for another. */
  renew(): void {
    if (this.#socket) this.#ended(this.#socket, 1006, "");
  }

  async #open(): Promise<void> {
    const run = this.#run;
    const stale = () => run !== this.#run || !!this.#socket;
    this.events.state("connecting", "");
    try {
      const token = await this.tokens.get();
      let path = "/teaching/imserver";
      const offered = ["im.v2"];
      if (this.transport === "ticket") {
        path += "/" + (await this.http.call<{ ticket: string }>("POST", "tickets")).ticket;
      } else {
        offered.push("im.bearer." + token);
      }
      const after = await this.events.after();
      if (stale()) return;
      if (after !== undefined) path += "?after=" + after;
      this.#listen(new this.WebSocket(this.url + path, offered));
    } catch (why) {
      if (stale()) return;
      if (isSignedOut(why)) this.#finish("signed-out", why.message);
      else this.#later(why instanceof Failure ? why.retryAfter : 0);
    }
  }

  #listen(socket: WebSocket): void {
    this.#socket = socket;
    const giveUp = this.clock.after(OPENING, () => this.#ended(socket, 1006, ""));
    let opened = false;
    socket.onopen = () => {
      giveUp();
      opened = true;
      this.#heardAt = this.clock.now();
      this.#planRefresh();
      this.events.opened();
    };
    socket.onmessage = ({ data }) => {
      this.#heardAt = this.clock.now();
      this.#probe?.();
      this.#probe = undefined;
      const frame = typeof data === "string" ? read(data) : null;
      if (!frame) return;
      if (frame.kind === "upToDate") this.#tries = this.#hopeless = 0;
      if (!this.#isAboutRefresh(frame)) this.events.heard(frame);
    };
    socket.onclose = ({ code, reason }) => {
      giveUp();
      this.#ended(socket, code, reason, opened);
    };
  }

  /** The end of a socket, and what comes after it. */
  #ended(socket: WebSocket, code: number, reason: string, opened = true): void {
    if (socket !== this.#socket) return;
    this.#drop(1000);
    if (!this.#run) return;
    const asked = Number(/retry_ms=(\d+)/.exec(reason)?.[1]) || 0;
    const why = reason.split(" ")[0] ?? "";
    switch (code) {
      case 1001:
      case 1013:
        return this.#later(asked, why);
      case 4401:
      case 4403:
        return void this.#withAnotherToken(why || "token_expired");
      case 1008:
        return this.#later(PENANCE, why);
      case 1002:
      case 1003:
      case 1007:
      case 1009:
        if (++this.#hopeless >= HOPELESS) return this.#finish("failed", why || String(code));
        return this.#later(0, why);
    }
    // Browsers do not tell a refused upgrade from a broken network. With a ticket the
    // token was good a moment ago; without, it is asked for by a call.
    if (!opened && this.transport === "subprotocol") return void this.#checkToken();
    this.#later(0, why);
  }

  async #withAnotherToken(reason: string): Promise<void> {
    await this.#orElse(async () => {
      await this.tokens.another(await this.tokens.get(), reason);
      this.#cancel();
      void this.#open();
    });
  }

  async #checkToken(): Promise<void> {
    await this.#orElse(async () => {
      await this.http.call("GET", "me");
      this.#later(0);
    });
  }

  async #orElse(work: () => Promise<void>): Promise<void> {
    const run = this.#run;
    try {
      await work();
    } catch (why) {
      if (run !== this.#run) return;
      if (isSignedOut(why)) this.#finish("signed-out", why.message);
      else this.#later(why instanceof Failure ? why.retryAfter : 0);
    }
  }

  /** Tries again after what the server asked for, or else after a while by chance. */
  #later(asked: number, reason = ""): void {
    this.#cancel();
    const most = Math.min(CAP, BASE * 2 ** this.#tries++);
    this.events.state("connecting", reason);
    this.#wait = this.clock.after(asked || this.clock.random() * most, () => {
      this.#wait = undefined;
      void this.#open();
    });
  }

  #finish(state: State, reason: string): void {
    this.stop();
    this.events.state(state, reason);
  }

  #cancel(): void {
    this.#wait?.();
    this.#wait = undefined;
  }

  #drop(code: number): void {
    const socket = this.#socket;
    this.#socket = undefined;
    for (const timer of [this.#refresh, this.#probe]) timer?.();
    this.#refresh = this.#probe = undefined;
    this.#refreshing.clear();
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    try {
      socket.close(code);
    } catch {
      // One that never opened may not be closed with a code everywhere.
    }
    this.events.lost();
  }

  /** Asks a socket that was silent for long whether it lives: a refresh is answered. */
  #ask(): void {
    this.#sendRefresh();
    this.#probe?.();
    const sent = this.clock.now();
    this.#probe = this.clock.after(PROBE, () => {
      if (this.#heardAt < sent) this.renew();
    });
  }

  /** Another token in time. Where clocks disagree the close 4401 does the same, later. */
  #planRefresh(): void {
    this.#refresh?.();
    const left = this.tokens.left;
    if (left === undefined || left <= 0) return;
    this.#refresh = this.clock.after(left * REFRESH_AT, async () => {
      const socket = this.#socket;
      const left = this.tokens.left ?? 0;
      // Long lives are waited for in pieces.
      if (left > 86_400_000) return this.#planRefresh();
      try {
        const old = await this.tokens.get();
        await this.tokens.another(old, "token_expired");
      } catch {
        // No source now: the socket lives until its token ends, and tries once more then.
        return;
      }
      if (socket === this.#socket) this.#sendRefresh();
    });
  }

  #sendRefresh(): void {
    void this.tokens.get().then((token) => {
      const timestamp = `refresh ${this.clock.now()}`.slice(0, 32);
      this.#refreshing.set(timestamp, token);
      this.send({ kind: "refresh", token, timestamp });
    });
  }

  #isAboutRefresh(frame: Heard): boolean {
    if (frame.kind !== "success" && frame.kind !== "failure") return false;
    const ours = this.#refreshing.delete(frame.timestamp);
    if (ours && frame.kind === "success") this.#planRefresh();
    return ours;
  }
}
