// The outbox on its way: in order, several at a time, each until it is answered.

import type { Clock } from "./clock.js";
import type { Kept } from "./storage.js";
import type { Heard, Said } from "./wire.js";

/** No answer for so long means: send again (the 2020 document). */
const ANSWER = 6000;
/** The first try and three more. Those that a broken connection cut short do not count. */
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
  /** Tries that came to nothing while the connection was there. */
  #missed = new Map<string, number>();
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
    this.#enqueue([message]);
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
    this.#enqueue(flying);
    this.#timer?.();
  }

  /** The server takes no frame of such a size: that was the longest. */
  tooBig(): boolean {
    const bySize = [...this.#flying.values()].sort(
      (a, b) => b.message.content.length - a.message.content.length,
    );
    const message = bySize[0]?.message;
    if (!message) return false;
    this.#flying.delete(message.clientMsgId);
    this.#fail(message, "content_too_large", "the message is longer than the server takes");
    return true;
  }

  clear(): void {
    this.lost();
    this.#queue = [];
    this.#missed.clear();
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
      this.#missed.delete(name);
      this.events.stored(message, frame.messageId ?? "");
    } else if (this.#mayTryAgain(name, frame.code)) {
      this.#enqueue([message]);
      this.#pause();
    } else {
      this.#fail(message, frame.code, frame.message);
    }
    this.#pump();
  }

  #mayTryAgain(name: string, code: string): boolean {
    // A rate that was too fast is our own fault, not the message's.
    if (code === "rate_limited") return true;
    return code === "store_unavailable" && this.#miss(name) < TRIES;
  }

  #miss(name: string): number {
    const missed = (this.#missed.get(name) ?? 0) + 1;
    this.#missed.set(name, missed);
    return missed;
  }

  /** Whole windows are turned down at once: that is one reason to pause, not thirty-two. */
  #pause(): void {
    const now = this.clock.now();
    if (now < this.#pausedUntil) return;
    this.#pausedUntil = now + Math.min(LONGEST_PAUSE, PAUSE * 2 ** this.#pauses++);
  }

  /** In the order of writing, whatever comes back. */
  #enqueue(messages: Kept[]): void {
    this.#queue = [...this.#queue, ...messages].sort((a, b) => a.createdAt - b.createdAt);
  }

  #fail(message: Kept, code: string, reason: string): void {
    this.#missed.delete(message.clientMsgId);
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
      const missed = this.#miss(name);
      if (missed >= TRIES) {
        this.#flying.delete(name);
        this.#fail(flight.message, "timeout", "the server does not answer");
      } else if (missed > 1 && this.events.heardAt() < flight.at) {
        // Two tries and not a word: the socket is dead, whatever it says.
        return this.events.silent();
      } else {
        this.#transmit(flight.message, now);
      }
    }
    this.#pump();
  }
}
