// What the page asks the server, and in which words that can fail.

import { words } from "./words";

/** The server said no, in a sentence. */
export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** How long an answer may take, where it is not as long as it takes. */
const PATIENCE_MS = 15_000;

export class Calls {
  readonly #token: string;
  readonly #over: () => void;

  /** Asks with `token`; `over` is called once the server takes it no more. */
  constructor(token: string, over: () => void) {
    this.#token = token;
    this.#over = over;
  }

  /** Makes a call that is answered with one JSON value. */
  async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.#ask(method, path, body, AbortSignal.timeout(PATIENCE_MS));
    return await arrived(answer.json()) as T;
  }

  /** Makes a call that is answered with JSON lines, and hands each to `take`. */
  async lines<T>(method: string, path: string, body: unknown, take: (line: T) => void): Promise<void> {
    const answer = await this.#ask(method, path, body);
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await arrived(reader.read());
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop()!;
      for (const line of lines) take(JSON.parse(line) as T);
    }
  }

  async #ask(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { authorization: `Bearer ${this.#token}` };
    const request: RequestInit = { method, headers, cache: "no-store", credentials: "omit", signal: signal ?? null };
    if (body !== undefined) {
      headers["content-type"] = "application/json";
      request.body = JSON.stringify(body);
    }
    const answer = await arrived(fetch(`/admin/${path}`, request));
    if (answer.ok) return answer;
    if (answer.status === 401) this.#over();
    throw new Refused(answer.status, await sentence(answer));
  }
}

/** What came over the network, or a sentence that it did not. */
async function arrived<T>(coming: Promise<T>): Promise<T> {
  try {
    return await coming;
  } catch {
    throw new Error(words.noAnswer);
  }
}

/** The server's own words for a refusal. */
async function sentence(answer: Response): Promise<string> {
  try {
    const { message } = await answer.json() as { message: string };
    return words.refused(message);
  } catch {
    return words.refused(`HTTP ${answer.status}`);
  }
}
