// Calls of the HTTPS API.

import type { Clock } from "./clock.js";
import { Failure } from "./failure.js";
import type { Tokens } from "./tokens.js";

/** What a page may wait for by itself before a call fails. */
const PATIENCE = 10_000;
const TRIES = 3;
/** A server that is silent for so long cannot be reached. */
const SILENCE = 15_000;

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
    if (answer.status === 204) return undefined as T;
    const said = (await answer.json().catch(() => null)) ?? {};
    if (answer.ok) return said as T;
    throw new Failure(
      said.code ?? `http_${answer.status}`,
      said.message ?? `the server answered ${answer.status}`,
      Number(answer.headers.get("retry-after")) * 1000 || 0,
      answer.status,
    );
  }

  async #ask(method: string, path: string, body: unknown, token: string): Promise<Response> {
    const headers: Record<string, string> = { Authorization: `Bearer ${token}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const tooLong = new AbortController();
    const inTime = this.clock.after(SILENCE, () => tooLong.abort());
    try {
      return await this.fetch(`${this.base}/teaching/api/${path}`, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        referrerPolicy: "no-referrer",
        signal: tooLong.signal,
      });
    } catch {
      throw new Failure("offline", "the server cannot be reached");
    } finally {
      inTime();
    }
  }
}
