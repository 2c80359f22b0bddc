// The page's state: a client, the list of conversations, and the one that is open.
//
// It moves one way: what the client tells changes the state, the state is drawn, and what
// the user does goes back to the client.

import { Client, type ClientOptions, type Message, type StateChange } from "imserver-client";
import { draft, keepDraft } from "./drafts";
import { type Line, merge } from "./lines";
import { notify, showInTitle, takeBack } from "./notify";
import { Sight } from "./sight";
import { Timeline } from "./timeline";
import { timeOf, untilMidnight } from "./times";
import { words } from "./words";

/** Somebody who types and does not go on has stopped after this. */
const TYPING_MS = 5000;
/** What comes into sight within this is marked as read together. */
const MARK_MS = 150;

export class Chat {
  readonly client: Client;
  readonly lines: Line[] = [];
  connection: StateChange = { state: "connecting", reason: "" };
  open: Timeline | null = null;
  userName = "";
  listLoading = false;
  listFailed = false;
  /** How often a message was put back to where one writes: that is then drawn anew. */
  edits = 0;
  /** Said to those who listen instead of looking. */
  announcement = "";
  /** Whether the list has more to load. */
  more: string | null = null;

  readonly #typing = new Map<number, ReturnType<typeof setTimeout>>();
  readonly #seen = new Set<string>();
  #marking: ReturnType<typeof setTimeout> | undefined;
  #midnight: ReturnType<typeof setTimeout> | undefined;
  #drawn: (() => void) | null = null;
  #drawing = false;
  #wasOnline = false;
  #counted = false;
  readonly #sight: Sight;
  readonly #stop: (() => void)[];

  constructor(readonly userId: number, options: ClientOptions) {
    const client = (this.client = new Client(options));
    this.#sight = new Sight(userId);
    this.#stop = [
      client.on("state", (change) => this.#stateChanged(change)),
      client.on("message", (message) => this.#came(message)),
      client.on("stored", ({ message }) => this.#sent(message)),
      client.on("outbox", () => {
        this.open?.outboxChanged();
        this.changed();
      }),
      client.on("read", ({ readerId, messageIds }) => {
        this.open?.read(readerId, messageIds);
        this.changed();
      }),
      client.on("typing", ({ fromId }) => this.#typed(fromId)),
      client.on("unread", ({ total }) => {
        this.#counted = true;
        showInTitle(total);
        // What was read, here or elsewhere, is no news any more.
        takeBack((peerId) => client.unreadOf(Number(peerId)) === 0);
        this.changed();
      }),
      client.on("reload", () => void this.#refresh()),
    ];
    document.addEventListener("visibilitychange", this.changed);
    this.#passMidnight();
    client.connect();
    void this.#loadMe();
    void this.loadList();
  }

  /** Ends this page's part; what is stored stays. */
  dispose(): void {
    for (const stop of this.#stop) stop();
    for (const timer of this.#typing.values()) clearTimeout(timer);
    clearTimeout(this.#marking);
    clearTimeout(this.#midnight);
    document.removeEventListener("visibilitychange", this.changed);
    this.#sight.stop();
    this.client.close();
    takeBack(() => true);
    showInTitle(0);
  }

  // Drawing: at most once a frame, however much happens in it.

  onChange(draw: () => void): () => void {
    this.#drawn = draw;
    // What changed before anybody drew.
    this.changed();
    return () => (this.#drawn = null);
  }

  readonly changed = (): void => {
    if (this.#drawing) return;
    this.#drawing = true;
    const draw = () => {
      this.#drawing = false;
      this.#drawn?.();
    };
    if (document.hidden) setTimeout(draw);
    else requestAnimationFrame(draw);
  };

  /** "Today" is drawn anew as "yesterday"; a machine that slept is late, and then looked at. */
  #passMidnight(): void {
    this.#midnight = setTimeout(() => {
      this.changed();
      this.#passMidnight();
    }, untilMidnight());
  }

  // What the client tells.

  #stateChanged(change: StateChange): void {
    const before = this.connection.state;
    this.connection = change;
    if (change.state === "online" && before !== "online") {
      // What this user wrote elsewhere meanwhile is in the history alone.
      if (this.#wasOnline || this.listFailed) void this.#refresh();
      else void this.open?.catchUp();
      this.#wasOnline = true;
    }
    this.changed();
  }

  async #refresh(): Promise<void> {
    if (!this.userName) void this.#loadMe();
    await Promise.all([this.loadList(), this.open?.catchUp()]);
  }

  #came(heard: Message): void {
    // Where its own mark says nothing, the time is that of now, and not of each drawing.
    const message = { ...heard, storedAt: timeOf(heard) };
    const mine = message.fromId === this.userId;
    const peerId = mine ? message.toId : message.fromId;
    this.#toFront(peerId, message);
    clearTimeout(this.#typing.get(peerId));
    this.#typing.delete(peerId);
    const isOpen = this.open?.peerId === peerId;
    // Before that the connection replays: the history has those, in their order.
    if (isOpen && this.connection.state === "online") {
      this.open!.add(message, this.open!.pinned && !document.hidden);
    }
    if (!mine) {
      const name = this.nameOf(peerId);
      this.announcement = isOpen
        ? words.said(name, message.content.slice(0, 300))
        : words.newFrom(name);
      void notify(this.#sight, name, message.content.slice(0, 200), String(peerId), () => {
        location.hash = `#/${peerId}`;
      });
    }
    this.changed();
  }

  #sent(message: Message): void {
    this.#toFront(message.toId, message);
    if (this.open?.peerId === message.toId) this.open.add(message, true);
    this.changed();
  }

  #typed(peerId: number): void {
    clearTimeout(this.#typing.get(peerId));
    const stopped = () => {
      this.#typing.delete(peerId);
      this.changed();
    };
    this.#typing.set(peerId, setTimeout(stopped, TYPING_MS));
    this.changed();
  }

  isTyping(peerId: number): boolean {
    return this.#typing.has(peerId);
  }

  // The list.

  async #loadMe(): Promise<void> {
    try {
      this.userName = (await this.client.me()).userName;
      this.changed();
    } catch {
      // It is asked again with the next connection; until then the number does.
    }
  }

  /** Loads the newest conversations, or the ones behind `cursor`. */
  async loadList(cursor?: string): Promise<void> {
    this.listLoading = true;
    this.listFailed = false;
    this.changed();
    const known = new Map(this.lines.map((line) => [line.peerId, line.last]));
    try {
      const page = await this.client.conversations({ limit: 50, ...(cursor && { cursor }) });
      const { lines, more } = merge(this.lines, known, page, cursor !== undefined);
      this.lines.splice(0, Infinity, ...lines);
      if (more !== undefined) this.more = more;
    } catch {
      this.listFailed = true;
    }
    this.listLoading = false;
    this.changed();
  }

  #toFront(peerId: number, message: Message): void {
    const at = this.lines.findIndex((line) => line.peerId === peerId);
    const line = at < 0 ? { peerId, userName: "", last: null, unread: 0 } : this.lines.splice(at, 1)[0]!;
    const userName = message.fromId === peerId ? message.userName : "";
    this.lines.unshift({ ...line, userName: userName || line.userName, last: message });
  }

  /** What to call a user. */
  nameOf(peerId: number): string {
    if (peerId === 0) return words.system;
    if (peerId === this.userId) return words.notes;
    return this.lines.find((line) => line.peerId === peerId)?.userName || words.user(peerId);
  }

  /** Unread messages of a conversation: what the list said, until the client has counted. */
  unreadOf(peerId: number): number {
    if (this.#counted) return this.client.unreadOf(peerId);
    return this.lines.find((line) => line.peerId === peerId)?.unread ?? 0;
  }

  // What the user does.

  show(peerId: number | null): void {
    if (peerId === (this.open?.peerId ?? null)) return;
    this.open = peerId === null ? null : this.#timeline(peerId);
    void this.open?.open();
    this.changed();
  }

  #timeline(peerId: number): Timeline {
    return new Timeline(peerId, this.userId, this.client, () => this.unreadOf(peerId), this.changed);
  }

  send(peerId: number, content: string): void {
    // What becomes of it is in the outbox, and later in the events.
    this.client.send(peerId, content).catch(() => {});
    const at = this.lines.findIndex((line) => line.peerId === peerId);
    if (at > 0) this.lines.unshift(...this.lines.splice(at, 1));
    else if (at < 0) this.lines.unshift({ peerId, userName: "", last: null, unread: 0 });
    keepDraft(this.userId, peerId, "");
    if (this.open?.peerId === peerId) {
      this.open.divider = null;
      this.open.showNewest();
    }
    this.changed();
  }

  draftOf(peerId: number): string {
    return draft(this.userId, peerId);
  }

  keepDraft(peerId: number, text: string): void {
    keepDraft(this.userId, peerId, text);
  }

  /** A message that failed is a draft again, before what is being written. */
  edit(peerId: number, clientMsgId: string): void {
    const failed = this.client.outbox.find((one) => one.clientMsgId === clientMsgId);
    if (!failed) return;
    const text = [failed.content, this.draftOf(peerId)].filter(Boolean).join("\n");
    this.keepDraft(peerId, text);
    // Where there is no room for it, it stays what it is.
    if (this.draftOf(peerId) !== text) return;
    this.client.discard(clientMsgId);
    this.edits++;
    this.changed();
  }

  /** These messages of the open conversation were really seen. */
  saw(keys: ReadonlySet<string>): void {
    const ids = this.open?.unreadAmong(keys) ?? [];
    if (ids.length === 0) return;
    this.open!.read(this.userId, ids);
    for (const id of ids) this.#seen.add(id);
    this.#marking ??= setTimeout(() => this.#mark(), MARK_MS);
    this.changed();
  }

  #mark(): void {
    this.#marking = undefined;
    const ids = [...this.#seen];
    this.#seen.clear();
    const open = this.open;
    // What could not be marked is unread again, and so marked when it is next seen.
    this.client.markRead(ids).catch(() => open?.read(this.userId, ids, false));
  }

  /** Marks all of the open conversation as read, seen or not. */
  markAllRead(): void {
    const open = this.open;
    const upTo = open?.newestToUs;
    if (!open || !upTo) return;
    open.allRead();
    this.client.markReadUpTo(open.peerId, upTo).catch(() => {});
    this.changed();
  }
}
