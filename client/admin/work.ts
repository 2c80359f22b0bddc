// What an administrator is about: it outlives a look at another section, and the token.

export interface Work {
  /** Whose it is. */
  by: number;
  /** To whom a message is being written, as it was typed. */
  to: string;
  content: string;
  /** The same text to the same people again, after it came to nothing, goes to nobody twice. */
  attempt: { what: string; id: string };
  /** The token that was issued last, until it has been seen: the server keeps none. */
  made: Made | null;
}

export interface Made {
  token: string;
  sub: number;
  until: string;
}

export type Change = (how: (work: Work) => Partial<Work>) => void;

export const begun = (by: number): Work => ({ by, to: "", content: "", attempt: { what: "", id: "" }, made: null });
