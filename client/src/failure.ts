// Why something did not come to pass, for programs (`code`) and for people (`message`).

import type { Failure as Shape } from "./types.js";

export class Failure extends Error implements Shape {
  constructor(
    readonly code: string,
    message: string,
    /** Milliseconds after which the server wants to be asked again. */
    readonly retryAfter = 0,
    /** The HTTP status, where it came with one. */
    readonly status = 0,
  ) {
    super(message);
    this.name = "Failure";
  }
}

/** There is no valid token any more, and why, in a word. */
export class SignedOut extends Failure {
  constructor(readonly reason: string) {
    super("signed_out", `signed out: ${reason}`);
  }
}
