// How the service has been lately: asked for every second while somebody looks.

import type { Calls } from "./calls";
import { Refused } from "./calls";
import { quantile, rise } from "./counts";
import type { Class, Counts } from "./counts";

const EVERY_MS = 1000;

/** What the plots show. */
export const WINDOW_MS = 5 * 60_000;

/** Answers that lie further apart have nothing between them. */
const GAP_MS = 5000;

export interface Status {
  version: string;
  uptimeSeconds: number;
  connections: number;
  users: number;
  /** Since the start, as all that is counted. */
  messages: { stored: number };
  ackLatency: { classes: Class[] };
  refused: Record<string, number>;
  failures: Record<string, number>;
  closes: Record<string, number>;
  handshakesFailed: number;
  store: { health: "ready" | "readOnly" | "closed"; why?: string };
  certificate: { until: string; secondsLeft: number } | null;
  notInForce: string[];
}

/** One moment, and what happened since the one before. */
export interface Point {
  at: number;
  /** Whether it goes on from the point before: the server was there all the while. */
  joined: boolean;
  connections: number;
  users: number;
  /** Stored a second. */
  messages: number | null;
  /** Seconds to an acknowledgement. */
  p50: number | null;
  p99: number | null;
  refused: Counts;
  failed: Counts;
  closed: Counts;
}

interface Answer {
  at: number;
  status: Status;
}

export class Watch {
  points: Point[] = [];
  latest: Answer | null = null;
  /** Why the last try came to nothing. */
  fault = "";
  readonly #calls: Calls;
  readonly #changed: () => void;
  #timer = 0;
  #running = true;
  #asking = false;

  constructor(calls: Calls, changed: () => void) {
    this.#calls = calls;
    this.#changed = changed;
    document.addEventListener("visibilitychange", this.#look);
    void this.#look();
  }

  stop(): void {
    this.#running = false;
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#look);
  }

  #look = async (): Promise<void> => {
    clearTimeout(this.#timer);
    if (!this.#running || document.hidden || this.#asking) return;
    this.#asking = true;
    try {
      const status = await this.#calls.json<Status>("GET", "status");
      this.#add({ at: now(), status });
      this.fault = "";
    } catch (error) {
      if (error instanceof Refused && error.status === 401) return;
      this.fault = (error as Error).message;
    } finally {
      this.#asking = false;
    }
    if (!this.#running) return;
    this.#changed();
    this.#timer = window.setTimeout(this.#look, EVERY_MS);
  };

  #add(answer: Answer): void {
    this.points = this.points.filter(({ at }) => at > answer.at - WINDOW_MS - GAP_MS);
    this.points.push(point(this.latest, answer));
    this.latest = answer;
  }
}

/** The time, by a clock that nobody sets. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

function point(before: Answer | null, { at, status }: Answer): Point {
  const joined = before !== null && at - before.at <= GAP_MS && status.uptimeSeconds >= before.status.uptimeSeconds;
  const old = joined ? before.status : status;
  const refused = rise(old.refused, status.refused);
  const handshakes = status.handshakesFailed - old.handshakesFailed;
  if (handshakes > 0) refused.set("handshake_failed", handshakes);
  const waited = (share: number) => quantile(old.ackLatency.classes, status.ackLatency.classes, share);
  return {
    at, joined, refused,
    connections: status.connections,
    users: status.users,
    messages: joined ? (status.messages.stored - old.messages.stored) * 1000 / (at - before.at) : null,
    p50: waited(0.5),
    p99: waited(0.99),
    failed: rise(old.failures, status.failures),
    closed: rise(old.closes, status.closes),
  };
}
