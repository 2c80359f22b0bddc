// What the page is told: in the tab that leads as the server says it, in the others as the
// leader does, each thing once.

import type { Clock } from "./clock.js";
import type { Events } from "./events.js";
import type { Inbox } from "./inbox.js";
import type { Tabs } from "./tabs.js";
import type { ClientEvents, Message, State } from "./types.js";
import type { Unread } from "./unread.js";
import type { Heard } from "./wire.js";

/** A count that failed on a socket that lives is asked for again after so long. */
const AGAIN = 5000;

type FromSocket<K extends Heard["kind"]> = Extract<Heard, { kind: K }>;

export class News {
  #state: State = "connecting";
  #reason = "";
  /** Calls off the next try to count. */
  #later = () => {};

  constructor(
    private readonly events: Events,
    private readonly inbox: Inbox,
    private readonly unread: Unread,
    private readonly tabs: Tabs,
    private readonly me: () => number | null,
    private readonly clock: Clock,
  ) {}

  get state(): State {
    return this.#state;
  }

  setState(state: State, reason: string): void {
    if (state === this.#state && reason === this.#reason) return;
    this.#state = state;
    this.#reason = reason;
    this.tell("state", { state, reason });
  }

  counted(): void {
    this.tell("unread", this.#unread);
  }

  /** A message came in, or one that this user sent elsewhere. */
  message({ kind: _, ...rest }: FromSocket<"message">): void {
    const message: Message = { ...rest, read: false };
    const me = this.me();
    if (!this.inbox.isNews(message, me)) return;
    // What is replayed may have been read elsewhere: it is counted when all is there.
    if (message.toId === me && this.#state === "online") this.unread.add(message);
    this.tell("message", message);
    this.inbox.taken(message, me);
  }

  read({ fromId: readerId, messageIds }: FromSocket<"read">): void {
    if (readerId === this.me() && !this.unread.read(messageIds)) this.#recount();
    this.tell("read", { readerId, messageIds });
  }

  /** What waited is all there. */
  upToDate({ head, complete }: FromSocket<"upToDate">): void {
    this.inbox.upToDate(head, !complete);
    this.setState("online", "");
    this.#recount();
    if (!complete) this.tell("reload", {});
  }

  /** The leader's news are this tab's too. */
  mirror(name: keyof ClientEvents, detail: unknown): void {
    if (name === "state") {
      const { state, reason } = detail as ClientEvents["state"];
      return this.setState(state, reason);
    }
    if (name === "unread") {
      const { total, byPeer } = detail as ClientEvents["unread"];
      this.unread.mirror(total, byPeer);
    }
    // The inbox may have begun anew, with lower ids.
    if (name === "reload") this.inbox.reset();
    if (name === "stored") this.inbox.wrote((detail as ClientEvents["stored"]).message);
    if (name === "message" && !this.inbox.isNews(detail as Message, this.me())) return;
    this.events.emit(name, detail as never);
  }

  /** A tab is new here: it is told how things are. */
  repeat(): void {
    this.#tellOthers("state", { state: this.#state, reason: this.#reason });
    this.#tellOthers("unread", this.#unread);
  }

  /** Tells this tab, and the others where this one leads. */
  tell<K extends keyof ClientEvents>(name: K, detail: ClientEvents[K]): void {
    if (this.tabs.leads) this.#tellOthers(name, detail);
    this.events.emit(name, detail);
  }

  #tellOthers<K extends keyof ClientEvents>(name: K, detail: ClientEvents[K]): void {
    this.tabs.tell({ is: "event", name, detail });
  }

  get #unread(): ClientEvents["unread"] {
    return { total: this.unread.total, byPeer: this.unread.byPeer };
  }

  #recount(): void {
    this.unread.reload().catch(() => {
      this.#later();
      this.#later = this.clock.after(AGAIN, () => {
        // The next connection counts anyway.
        if (this.#state === "online" && this.tabs.leads) this.#recount();
      });
    });
  }
}
