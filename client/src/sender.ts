// The outbox on its way: in order, several at a time, each until it is answered.

import type { Clock } from "./clock.js";
import type { Kept } from "./storage.js";
import type { Heard, Said } from "./wire.js";

/** No answer for so long means: send again (the 2020 document). */
const ANSWER = 6000;
/** The first try and three more. */
const TRIES = 4;
/** Messages without an answer; more wait. */
const WINDOW = 32;
/** Below what a server allows a connection unless it is told otherwise: 20 a second, 60 at once. */
const RATE = 15;
const BURST = 40;
/** A timer that rings so much later than it was set for was held back by the browser. */
const HELD_BACK = 1000;
/** Waits after `rate_limited` and `store_unavailable`: doubling from the first to the last. */
const PAUSE = 1000;
const LONGEST_PAUSE = 16_000;

const TEMPORARY = new Set(["rate_limited", "store_unavailable"]);

export interface SenderEvents {
  /** Puts a frame on the socket; false where there is none. */
  send(said: Said): boolean;
  stored(message: Kept, messageId: string): void;
  failed(message: Kept, code: string, reason: string): void;
  /** Nothing is heard on this socket. */
  silent(): void;
  heardAt(): number;
}

interface Flight {
  message: Kept;
  at: number;
  /** The timer was held back once: what came in meanwhile has had its time. */
  spared: boolean;
}

export class Sender {
  #queue: Kept[] = [];
  #flying = new Map<string, Flight>();
  #tries = new Map<string, number>();
  #open = false;
  #pauses = 0;
  #pausedUntil = 0;
  #tokens = BURST;
  #filledAt = 0;
  #timer: (() => void) | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly events: SenderEvents,
  ) {}

  has(clientMsgId: string): boolean {
    return this.#flying.has(clientMsgId) || this.#queue.some((m) => m.clientMsgId === clientMsgId);
  }

  add(message: Kept): void {
    if (this.has(message.clientMsgId)) return;
    this.#queue.push(message);
    this.#pump();
  }

  /** A socket is open: what was on its way on the one before goes out again. */
  opened(): void {
    this.#open = true;
    this.#pump();
  }

  /** The socket is gone. Being without one is no failure: nothing runs out meanwhile. */
  lost(): void {
    this.#open = false;
    const flying = [...this.#flying.values()].map((flight) => flight.message);
    this.#flying.clear();
    this.#queue = [...flying, ...this.#queue].sort((a, b) => a.createdAt - b.createdAt);
    this.#timer?.();
  }

  clear(): void {
    this.lost();
    this.#queue = [];
    this.#tries.clear();
  }

  heard(frame: Heard): void {
    if (frame.kind !== "success" && frame.kind !== "failure") return;
    const name = frame.clientMsgId ?? "";
    const flight = this.#flying.get(name);
    if (!flight) return;
    this.#flying.delete(name);
    const { message } = flight;
    if (frame.kind === "success") {
      this.#pauses = 0;
      this.#tries.delete(name);
      this.events.stored(message, frame.messageId ?? "");
    } else if (TEMPORARY.has(frame.code) && this.#mayTryAgain(name, frame.code)) {
      this.#queue.unshift(message);
      const pause = Math.min(LONGEST_PAUSE, PAUSE * 2 ** this.#pauses++);
      this.#pausedUntil = this.clock.now() + pause;
    } else {
      this.#fail(message, frame.code, frame.message);
    }
    this.#pump();
  }

  /** A rate that was too fast is our own fault, not the message's. */
  #mayTryAgain(name: string, code: string): boolean {
    if (code === "rate_limited") {
      this.#tries.set(name, (this.#tries.get(name) ?? 1) - 1);
      return true;
    }
    return (this.#tries.get(name) ?? 0) < TRIES;
  }

  #fail(message: Kept, code: string, reason: string): void {
    this.#tries.delete(message.clientMsgId);
    this.events.failed(message, code, reason);
  }

  #pump(): void {
    const now = this.clock.now();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#filledAt) * RATE) / 1000);
    this.#filledAt = now;
    while (this.#open && now >= this.#pausedUntil && this.#tokens >= 1) {
      const message = this.#flying.size < WINDOW ? this.#queue.shift() : undefined;
      if (!message) break;
      this.#tokens -= 1;
      this.#transmit(message, now);
    }
    this.#setTimer(now);
  }

  #transmit(message: Kept, now: number): void {
    const { clientMsgId, toId, content, timestamp, sent } = message;
    message.sent = true;
    this.#tries.set(clientMsgId, (this.#tries.get(clientMsgId) ?? 0) + 1);
    this.#flying.set(clientMsgId, { message, at: now, spared: false });
    this.events.send({ kind: "send", toId, content, timestamp, clientMsgId, resend: sent });
  }

  #setTimer(now: number): void {
    this.#timer?.();
    if (!this.#open) return;
    const dues = [...this.#flying.values()].map((flight) => flight.at + ANSWER);
    if (this.#queue.length && this.#flying.size < WINDOW) {
      dues.push(Math.max(this.#pausedUntil, now + ((1 - this.#tokens) * 1000) / RATE));
    }
    if (!dues.length) return;
    const due = Math.min(...dues);
    this.#timer = this.clock.after(Math.max(0, due - now), () => this.#ring(due));
  }

  #ring(due: number): void {
    const now = this.clock.now();
    const heldBack = now - due > HELD_BACK;
    for (const [name, flight] of this.#flying) {
      if (flight.at + ANSWER > now) continue;
      if (heldBack && !flight.spared) {
        // The page slept: an answer may lie there unread. Look once more in a moment.
        flight.spared = true;
        flight.at = now - ANSWER + HELD_BACK;
        continue;
      }
      const tries = this.#tries.get(name) ?? 0;
      if (tries >= TRIES) {
        this.#flying.delete(name);
        this.#fail(flight.message, "timeout", "the server does not answer");
      } else if (tries > 1 && this.events.heardAt() < flight.at) {
        // Two tries and not a word: the socket is dead, whatever it says.
        return this.events.silent();
      } else {
        this.#transmit(flight.message, now);
      }
    }
    this.#pump();
  }
}
