// One socket's life: open, lost, open again; and when to give up.

import type { Clock } from "./clock.js";
import { Failure, SignedOut } from "./failure.js";
import type { Http } from "./http.js";
import type { Tokens } from "./tokens.js";
import type { State } from "./types.js";
import { type Heard, type Said, read, write } from "./wire.js";

/** Back-off with full jitter: the n-th wait is anything up to BASE * 2^n, at most CAP. */
const BASE = 500;
const CAP = 30_000;
/** Connecting may take so long. */
const OPENING = 15_000;
/** A socket that was silent for so long is asked whether it lives when the page wakes up, */
const STALE = 30_000;
/** and after so long in any case: pages do not see the server's pings. */
const IDLE = 120_000;
/** So often it is looked whether that long is over; a sleeping machine misses timers. */
const LOOK = 15_000;
/** So long it has to answer. */
const PROBE = 5_000;
/** Whoever was sent away for misbehaving stays away. */
const PENANCE = 60_000;
/** Ends of our own making, in a row, after which trying is no use. */
const HOPELESS = 3;
/** A refresh comes when this part of what was left of the token is over, */
const REFRESH_AT = 0.8;
/** and at the latest so long before its end, where that leaves at least half of it. */
const IN_TIME = 30_000;
/** Closer to its end than this, a token is left to end. */
const TOO_LATE = 1000;

export interface LinkEvents {
  /** Frames may be sent: the server replays first. */
  opened(): void;
  heard(frame: Heard): void;
  /** Nothing more comes on this socket. */
  lost(): void;
  /** What was sent last was more than the server takes; false where nothing was. */
  tooBig(): boolean;
  state(state: State, reason: string): void;
  /** The message behind which the server shall begin; undefined: with the unread ones. */
  after(): Promise<string | undefined>;
}

export class Link {
  #running = false;
  /** The browser says that there is no network. */
  #offline = false;
  /** The latest try to connect: what comes of an earlier one is of no interest. */
  #try: object | undefined;
  /** The token that this connection lives by. */
  #used = "";
  #socket: WebSocket | undefined;
  #tries = 0;
  #hopeless = 0;
  #heardAt = 0;
  /** Calls off the wait for the next try, */
  #wait: (() => void) | undefined;
  /** which the server asked for: nothing shortens it. */
  #asked = false;
  #look: (() => void) | undefined;
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
    if (this.#running) return;
    this.#running = true;
    this.#tries = this.#hopeless = 0;
    void this.#open();
  }

  stop(): void {
    this.#running = this.#offline = false;
    this.#cancel();
    this.#drop();
  }

  send(said: Said): boolean {
    const me = this.tokens.userId;
    if (!this.isOpen || me === null) return false;
    this.#socket?.send(write(me, said));
    return true;
  }

  /** The page is looked at again, or the network is back: no waiting any more. */
  wake(): void {
    if (!this.#running || this.#offline) return;
    if (this.#wait && !this.#asked) {
      this.#tries = 0;
      void this.#open();
    } else if (this.isOpen && this.#silence > STALE) {
      this.#ask();
    }
  }

  /** What the browser says of the network. */
  network(there: boolean): void {
    if (!this.#running || there !== this.#offline) return this.wake();
    this.#offline = !there;
    if (there) {
      this.#tries = 0;
      void this.#open();
    } else {
      this.#cancel();
      this.#drop();
      this.events.state("offline", "offline");
    }
  }

  /** Ends this socket, which seems dead, for another. */
  renew(): void {
    if (this.#socket) this.#ended(this.#socket, 1006, "");
  }

  get #silence(): number {
    return this.clock.now() - this.#heardAt;
  }

  async #open(): Promise<void> {
    this.#cancel();
    const latest = (this.#try = {});
    this.events.state("connecting", "");
    await this.#orElse(async () => {
      let token = await this.tokens.get();
      let path = "/teaching/imserver";
      const offered = ["im.v2"];
      if (this.transport === "ticket") {
        path += "/" + (await this.http.once<{ ticket: string }>("POST", "tickets")).ticket;
        // The call may have had to fetch another one.
        token = await this.tokens.get();
      } else {
        offered.push("im.bearer." + token);
      }
      const after = await this.events.after();
      if (latest !== this.#try) return;
      if (after !== undefined) path += "?after=" + after;
      this.#used = token;
      this.#listen(new this.WebSocket(this.url + path, offered));
    });
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
      this.#keepLooking();
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
    // A close follows; without a listener programs outside browsers would end.
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => {
      giveUp();
      this.#ended(socket, code, reason, opened);
    };
  }

  /** The end of a socket, and what comes after it. */
  #ended(socket: WebSocket, code: number, reason: string, opened = true): void {
    if (socket !== this.#socket) return;
    // Before it is forgotten what was on its way.
    const tooBig = code === 1009 && this.events.tooBig();
    this.#drop();
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
        // A line that stalled in the middle of a message is no misbehaviour of ours.
        return this.#later(why === "unfinished_message" ? 0 : PENANCE, why);
      case 1002:
      case 1003:
      case 1007:
      case 1009:
        return tooBig ? this.#later(0, why) : this.#ourFault(why || String(code));
    }
    // Browsers do not tell a refused upgrade from a broken network. With a ticket the
    // token was good a moment ago; without, it is asked for by a call.
    if (!opened && this.transport === "subprotocol") return void this.#checkToken();
    this.#later(0, why);
  }

  async #withAnotherToken(reason: string): Promise<void> {
    await this.#orElse(async () => {
      const latest = this.#try;
      await this.tokens.another(this.#used, reason);
      if (latest === this.#try) this.#later(0, reason);
    });
  }

  async #checkToken(): Promise<void> {
    await this.#orElse(async () => {
      const latest = this.#try;
      await this.http.once("GET", "me");
      if (latest === this.#try) this.#later(0);
    });
  }

  /** Does what leads to a connection, or else decides what the failure leads to. */
  async #orElse(work: () => Promise<void>): Promise<void> {
    const latest = this.#try;
    try {
      await work();
    } catch (why) {
      if (latest !== this.#try) return;
      if (why instanceof SignedOut) return this.#finish("signed-out", why.reason);
      const { code, status, retryAfter } = why instanceof Failure ? why : new Failure("offline", "");
      // Pages from here may not connect: that does not pass by itself.
      if (status === 403) return this.#ourFault(code);
      this.#later(retryAfter, code);
    }
  }

  #ourFault(reason: string): void {
    if (++this.#hopeless >= HOPELESS) this.#finish("failed", reason);
    else this.#later(0, reason);
  }

  /** Tries again after what the server asked for, or else after a while by chance. */
  #later(asked: number, reason = ""): void {
    this.#cancel();
    const most = Math.min(CAP, BASE * 2 ** this.#tries++);
    this.events.state("connecting", reason);
    this.#asked = asked > 0;
    this.#wait = this.clock.after(asked || this.clock.random() * most, () => void this.#open());
  }

  #finish(state: State, reason: string): void {
    this.stop();
    this.events.state(state, reason);
  }

  /** No try is under way or waits any more. */
  #cancel(): void {
    this.#try = undefined;
    this.#asked = false;
    this.#wait?.();
    this.#wait = undefined;
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    for (const timer of [this.#look, this.#refresh, this.#probe]) timer?.();
    this.#look = this.#refresh = this.#probe = undefined;
    this.#refreshing.clear();
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.events.lost();
  }

  /** Looks now and then whether the socket was silent for too long. */
  #keepLooking(): void {
    this.#look = this.clock.after(LOOK, () => {
      this.#keepLooking();
      if (this.#silence > IDLE) this.#ask();
    });
  }

  /** Asks a socket that was silent for long whether it lives: a refresh is answered. */
  #ask(): void {
    if (this.#probe) return;
    this.#sendRefresh(this.#used);
    this.#probe = this.clock.after(PROBE, () => this.renew());
  }

  /** Another token in time. Where clocks disagree the close 4401 does the same, later. */
  #planRefresh(): void {
    this.#refresh?.();
    const left = this.tokens.left ?? 0;
    if (left < TOO_LATE) return;
    const early = left > 2 * IN_TIME ? left - IN_TIME : Infinity;
    this.#refresh = this.clock.after(Math.min(left * REFRESH_AT, early), () => void this.#renewed());
  }

  async #renewed(): Promise<void> {
    const socket = this.#socket;
    try {
      const token = await this.tokens.renew();
      if (socket !== this.#socket) return;
      if (token !== this.#used) return this.#sendRefresh(token);
    } catch (why) {
      if (socket !== this.#socket) return;
      if (why instanceof SignedOut) return this.#finish("signed-out", why.reason);
    }
    // None yet: asked for again when most of what is left is over.
    this.#planRefresh();
  }

  #sendRefresh(token: string): void {
    const timestamp = `refresh ${this.clock.now()}`.slice(0, 32);
    this.#refreshing.set(timestamp, token);
    this.send({ kind: "refresh", token, timestamp });
  }

  #isAboutRefresh(frame: Heard): boolean {
    if (frame.kind !== "success" && frame.kind !== "failure") return false;
    const token = this.#refreshing.get(frame.timestamp);
    if (token === undefined) return false;
    this.#refreshing.delete(frame.timestamp);
    if (frame.kind === "success" && token !== this.#used) {
      this.#used = token;
      this.#planRefresh();
    }
    return true;
  }
}
