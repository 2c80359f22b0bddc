// The token: asked for when it is needed, and in time before it ends.

import { signedOut } from "./failure.js";
import type { ClientOptions } from "./types.js";

interface Claims {
  sub?: string;
  exp?: number;
}

/** What a token says, for planning alone: the server decides what is true. */
function claims(token: string): Claims {
  try {
    const part = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    const claims = JSON.parse(atob(part));
    return typeof claims === "object" && claims ? claims : {};
  } catch {
    return {};
  }
}

export class Tokens {
  #token = "";
  #user: string | undefined;
  #asking: Promise<string> | undefined;

  constructor(private readonly source: ClientOptions["getToken"]) {}

  /** The user of the token; null before there is one. */
  get userId(): number | null {
    return Number(this.#user) || null;
  }

  /** Milliseconds until the token ends, by this machine's clock; undefined: not known. */
  get left(): number | undefined {
    const { exp } = claims(this.#token);
    return exp === undefined ? undefined : exp * 1000 - Date.now();
  }

  /** The token, asked for where there is none. */
  async get(): Promise<string> {
    return this.#token || this.#ask("");
  }

  /**
   * Another token than `refused`, which the server did not take. The same one again, or
   * none, is final: whoever has no better source would ask for ever.
   */
  async another(refused: string, reason: string): Promise<string> {
    if (this.#token && this.#token !== refused) return this.#token;
    const token = await this.#ask(reason);
    if (token === refused) throw signedOut(reason);
    return token;
  }

  forget(): void {
    this.#token = "";
    this.#user = undefined;
  }

  /** One question at a time, whoever asks. */
  #ask(reason: string): Promise<string> {
    this.#asking ??= (async () => {
      try {
        const token = await this.source();
        if (!token) throw signedOut(reason || "no token");
        const { sub } = claims(token);
        // What is kept here belongs to one user; a page that changed hands starts anew.
        if ((this.#user ??= sub) !== sub) throw signedOut("another_user");
        return (this.#token = token);
      } finally {
        this.#asking = undefined;
      }
    })();
    return this.#asking;
  }
}
