// Calls of the HTTPS API.

import type { Clock } from "./clock.js";
import { Failure } from "./failure.js";
import type { Tokens } from "./tokens.js";

/** What a page may wait for by itself before a call fails. */
const PATIENCE = 10_000;
const TRIES = 3;
/** A server that is silent for so long cannot be reached. */
const SILENCE = 15_000;

interface Answer {
  status: number;
  /** Its body; null where that is no JSON object. */
  said: object | null;
  /** Milliseconds after which the server wants to be asked again. */
  retryAfter: number;
}

export class Http {
  constructor(
    readonly base: string,
    private readonly tokens: Tokens,
    private readonly fetch: typeof globalThis.fetch,
    private readonly clock: Clock,
  ) {}

  /** Calls, and again where the server asks to wait for a moment. */
  async call<T>(method: "GET" | "POST", path: string, body?: unknown): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.once<T>(method, path, body);
      } catch (why) {
        const wait = why instanceof Failure ? why.retryAfter : 0;
        if (!wait || wait > PATIENCE || tries >= TRIES) throw why;
        await new Promise<void>((done) => void this.clock.after(wait, done));
      }
    }
  }

  /** Calls, with a fresh token where the server wants one. */
  async once<T>(method: "GET" | "POST", path: string, body?: unknown): Promise<T> {
    let token = await this.tokens.get();
    let answer = await this.#ask(method, path, body, token);
    if (answer.status === 401) {
      token = await this.tokens.another(token, "token_refused");
      answer = await this.#ask(method, path, body, token);
      // Refused again: final, unless there is yet another one for the next call.
      if (answer.status === 401) await this.tokens.another(token, "token_refused");
    }
    const { status, said, retryAfter } = answer;
    if (status === 204) return undefined as T;
    if (status === 200 && said) return said as T;
    const { code, message } = (said ?? {}) as { code?: string; message?: string };
    throw new Failure(
      code ?? `http_${status}`,
      message ?? `the server answered ${status}`,
      retryAfter,
      status,
    );
  }

  async #ask(method: string, path: string, body: unknown, token: string): Promise<Answer> {
    const headers: Record<string, string> = { Authorization: `Bearer ${token}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const tooLong = new AbortController();
    const inTime = this.clock.after(SILENCE, () => tooLong.abort());
    try {
      const answer = await this.fetch(`${this.base}/teaching/api/${path}`, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        referrerPolicy: "no-referrer",
        signal: tooLong.signal,
      });
      // Also what has begun to come may break off, or never end.
      const text = await answer.text();
      const retryAfter = Number(answer.headers.get("retry-after")) * 1000 || 0;
      return { status: answer.status, said: read(text), retryAfter };
    } catch {
      throw new Failure("offline", "the server cannot be reached");
    } finally {
      inTime();
    }
  }
}

function read(text: string): object | null {
  try {
    const said = JSON.parse(text);
    return typeof said === "object" ? said : null;
  } catch {
    return null;
  }
}
