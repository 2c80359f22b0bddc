// Why something did not come to pass, for programs (`code`) and for people (`message`).

import type { Failure as Shape } from "./types.js";

export class Failure extends Error implements Shape {
  constructor(
    readonly code: string,
    message: string,
    /** Milliseconds after which the server wants to be asked again. */
    readonly retryAfter = 0,
  ) {
    super(message);
    this.name = "Failure";
  }
}

export const signedOut = (reason: string) => new Failure("signed_out", `signed out: ${reason}`);

export const isSignedOut = (why: unknown): why is Failure =>
  why instanceof Failure && why.code === "signed_out";
