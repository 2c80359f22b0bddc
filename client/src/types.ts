// What a page sees of the client. Everything here is part of the published interface.

/** How the client is set up. */
export interface ClientOptions {
  /**
   * Gives a JWT of the signed-in user. Asked for the first token and again shortly before
   * each one ends, never twice at once. `null`, or the same expired token again, means
   * that there is none: the client then ends with the state `signed-out`. When it rejects, or
   * gives what is no JWT (the state's reason is then `not_a_token`), it is asked again.
   */
  getToken: () => string | null | Promise<string | null>;
  /** Where the server is, such as `https://im.example.com`. Default, on a page: its own origin. */
  url?: string;
  /**
   * How the socket is authenticated; in neither way does the token stand in the URL.
   * `ticket` (default) asks the server for a single-use ticket first, `subprotocol` offers
   * the token as a WebSocket subprotocol.
   */
  transport?: "ticket" | "subprotocol";
  /** One socket per browser through a leader tab where the browser can; default true. */
  shareSocket?: boolean;
  /** For programs outside browsers, and for tests: what does as the browser's own would, such as that of `ws`. */
  WebSocket?: new (url: string, protocols: string[]) => object;
  /** For programs outside browsers, and for tests. */
  fetch?: typeof fetch;
}

/** A message as it is shown. */
export interface Message {
  /** Its id in the recipient's inbox: decimal digits. */
  messageId: string;
  /** Who wrote it; 0 is the system. */
  fromId: number;
  toId: number;
  content: string;
  /** The sender's own mark of time. */
  timestamp: string;
  /** Milliseconds since the Unix epoch, by the server; absent on a live message. */
  storedAt?: number;
  /** Whether its recipient has read it. */
  read: boolean;
  /** The sender's name and picture, where known (live messages only). */
  userName?: string;
  headURL?: string;
  /** The sender's own name for it, where it is one of this user's own. */
  clientMsgId?: string;
}

/** A message on its way. */
export interface Outgoing {
  clientMsgId: string;
  toId: number;
  content: string;
  timestamp: string;
  /** Milliseconds since the Unix epoch, by this browser, when `send` was called. */
  createdAt: number;
  state: "pending" | "failed";
  /** Why it failed: a failure code of the server, or `timeout`. */
  code?: string;
  /** The same for people. */
  reason?: string;
}

/** What became of a message that was sent. */
export interface Stored {
  messageId: string;
  clientMsgId: string;
  toId: number;
}

export interface Conversation {
  /** The other side; 0 is the system, oneself the notes to oneself. */
  peerId: number;
  userName: string;
  headURL: string;
  unread: number;
  lastMessage: Message;
}

export interface ConversationPage {
  conversations: Conversation[];
  unreadTotal: number;
  /** For the next page; null: this was the last. */
  next: string | null;
}

/** A page of a conversation, oldest message first. */
export interface HistoryPage {
  messages: Message[];
  /** For what stands before; null: this is the beginning. */
  older: string | null;
  /** For what comes after. */
  newer: string | null;
}

/**
 * - `connecting`: on the way, also between two tries.
 * - `online`: connected and up to date.
 * - `offline`: the browser says that there is no network.
 * - `signed-out`: final: no valid token any more, or revoked, or `logout()`/`close()`.
 * - `failed`: final: this client and the server do not understand each other.
 */
export type State = "connecting" | "online" | "offline" | "signed-out" | "failed";

export interface StateChange {
  state: State;
  /** Why, in a word: `token_expired`, `token_revoked`, `not_a_token`, `drain`, `logout`, …; may be empty. */
  reason: string;
}

/** What `Client.on` can be asked for. */
export interface ClientEvents {
  state: StateChange;
  /**
   * A message came in, or this user sent one from another device or tab (`fromId` is then
   * the user). Once per message and browser tab, in order.
   */
  message: Message;
  /** A message of this tab or another tab of this browser is stored. */
  stored: Stored & { message: Message };
  /** The outbox changed: see `Client.outbox`. */
  outbox: Outgoing[];
  /**
   * Messages were read. `readerId` is the peer who read messages of ours, or ourselves
   * when it happened on another device or tab.
   */
  read: { readerId: number; messageIds: string[] };
  /** A peer is typing now. */
  typing: { fromId: number };
  /** The numbers of unread messages changed. */
  unread: { total: number; byPeer: ReadonlyMap<number, number> };
  /** What the page shows may have gaps: load `conversations()` and `history()` again. */
  reload: Record<string, never>;
}

/** Why a message was not sent, or a call failed. */
export interface Failure extends Error {
  /** A failure code of the server, `timeout`, `offline`, `signed_out` or `closed`. */
  code: string;
}

/** The client. `new Client(options)`, add listeners, `connect()`. */
export interface ClientInterface {
  readonly state: State;
  /** The user of the token; null until there is one. */
  readonly userId: number | null;
  /** Starts, or starts again after `failed`; idempotent. */
  connect(): void;
  /** Stops this tab; keeps what is stored. */
  close(): void;
  /** Stops in all tabs of the browser and wipes token, cursor and outbox of this user. */
  logout(): Promise<void>;
  /** Adds a listener and gives the function that removes it. */
  on<K extends keyof ClientEvents>(event: K, listener: (detail: ClientEvents[K]) => void): () => void;
  /**
   * Sends a message: it is in the outbox at once, survives reload and crash, and is stored
   * once. The promise tells when it is stored, or rejects with a `Failure`.
   */
  send(toId: number, content: string): Promise<Stored>;
  /** What is on its way or failed, oldest first. */
  readonly outbox: readonly Outgoing[];
  /** Tries a failed message again, under the same name. */
  retry(clientMsgId: string): void;
  /** Takes a failed message out of the outbox. */
  discard(clientMsgId: string): void;
  me(): Promise<{ userId: number; userName: string; headURL: string; expiresAt: number }>;
  conversations(options?: { limit?: number; cursor?: string }): Promise<ConversationPage>;
  /** A peer nobody has written to yet gives an empty page. */
  history(
    peerId: number,
    options?: { limit?: number; before?: string; after?: string },
  ): Promise<HistoryPage>;
  /** Marks messages to this user as read. */
  markRead(messageIds: string[]): Promise<void>;
  /** Marks all that `peerId` wrote up to this message as read. */
  markReadUpTo(peerId: number, messageId: string): Promise<void>;
  /** Tells `peerId` that this user is typing; call it at every key, it is sent once in 3 s. */
  typing(peerId: number): void;
  /** The number of unread messages, over all conversations. */
  readonly unread: number;
  unreadOf(peerId: number): number;
}
