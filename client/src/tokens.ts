// The token: asked for when it is needed, and in time before it ends.

import { Failure, SignedOut } from "./failure.js";
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
  /** What the server did not take: none of it is tried again. */
  #refused = new Set<string>();

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
    return this.#token && !this.#refused.has(this.#token) ? this.#token : this.#ask("");
  }

  /**
   * Another token than `refused`, which the server did not take. One that it has refused
   * already, or none, is final: whoever has no better source would ask for ever.
   */
  async another(refused: string, reason: string): Promise<string> {
    this.#refused.add(refused);
    if (this.#token && !this.#refused.has(this.#token)) return this.#token;
    const token = await this.#ask(reason);
    if (this.#refused.has(token)) throw new SignedOut(this.#why(reason));
    return token;
  }

  /** The word for a token that was refused: its end is a better reason than any. */
  #why(reason: string): string {
    return (this.left ?? Infinity) <= 0 ? "token_expired" : reason;
  }

  /** Asks for a fresh token while the old one is still good; the same one is no fault. */
  renew(): Promise<string> {
    return this.#ask("");
  }

  forget(): void {
    this.#token = "";
    this.#user = undefined;
    this.#refused.clear();
    this.#asking = undefined;
  }

  /** One question at a time, whoever asks. */
  #ask(reason: string): Promise<string> {
    // What throws at once must not be over before it is noted as under way.
    if (!this.#asking) {
      const asking: Promise<string> = Promise.resolve()
        .then(this.source)
        .then((token) => {
          // It was for somebody who has left.
          if (this.#asking !== asking) throw new SignedOut("logout");
          return this.#take(token, reason);
        })
        .finally(() => {
          if (this.#asking === asking) this.#asking = undefined;
        });
      this.#asking = asking;
    }
    return this.#asking;
  }

  #take(token: string | null, reason: string): string {
    if (!token) throw new SignedOut(reason || "no_token");
    const { sub } = claims(token);
    // A page that says that there is none now is taken for that: it is asked again.
    if (!sub) throw new Failure("not_a_token", "getToken gave something that is no JWT");
    // What is kept here belongs to one user; a page that changed hands starts anew.
    if ((this.#user ??= sub) !== sub) throw new SignedOut("another_user");
    return (this.#token = token);
  }
}
