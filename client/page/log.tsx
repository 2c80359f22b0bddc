// The messages of the open conversation, as one scrolls through them.
//
// A stretch of them is in the document (`timeline.ts`). When it changes, the view keeps
// still what one reads: the newest message, where one was at the end, and else the first
// message in sight. Nothing here guesses the height of anything.

import { Fragment } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { Bubble, type BubbleActions } from "./bubble";
import type { Chat } from "./chat";
import { Icon } from "./icons";
import { dayName, dayOf } from "./times";
import type { Item, Timeline } from "./timeline";
import { words } from "./words";

/** As near to the end as this is at the end. */
const NEAR = 24;
/** Messages of one sender within this belong together. */
const TOGETHER_MS = 5 * 60_000;

export function Log({ chat, timeline, name }: { chat: Chat; timeline: Timeline; name: string }) {
  const view = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLOListElement>(null);
  const keeper = useRef<Keeper | null>(null);
  const items = timeline.items();
  // Before the document changes: one may have scrolled since it was last drawn.
  keeper.current?.remember();

  useEffect(() => {
    const keep = (keeper.current = new Keeper(view.current!, chat, timeline));
    const sizes = new ResizeObserver(() => keep.settle());
    sizes.observe(view.current!);
    sizes.observe(content.current!);
    const look = () => keep.look();
    document.addEventListener("visibilitychange", look);
    return () => {
      sizes.disconnect();
      document.removeEventListener("visibilitychange", look);
    };
  }, [timeline]);
  useLayoutEffect(() => keeper.current?.settle());

  const unread = chat.unreadOf(timeline.peerId);
  // A button that goes away when it is pressed leaves the focus to the log.
  const pressed = (work: () => void) => {
    view.current!.focus();
    work();
  };
  const actions: BubbleActions = {
    retry: (id) => pressed(() => chat.client.retry(id)),
    edit: (id) => pressed(() => chat.edit(timeline.peerId, id)),
    discard: (id) => pressed(() => chat.client.discard(id)),
    hold: (part) => keeper.current?.hold(part),
  };
  const away = !timeline.atNewest || !timeline.pinned;
  return (
    <div class="log-frame">
      {/* Not live: its lines come and go by scrolling. What is new is said elsewhere. */}
      <div
        class="log" role="log" aria-live="off" aria-label={words.messagesWith(name)} tabIndex={0}
        aria-busy={timeline.loading} ref={view} onScroll={() => keeper.current?.scrolled()}
      >
        <ol ref={content}>
          {timeline.atBeginning && !timeline.isEmpty && <li class="aside">{words.beginning}</li>}
          {items.map((item, n) => (
            <Fragment key={item.key}>
              {startsDay(item, items[n - 1]) && (
                <li class="aside day"><time>{dayName(item.at)}</time></li>
              )}
              {item.key === timeline.divider && <li class="aside divider"><span>{words.newMessages}</span></li>}
              <Bubble
                item={item} from={name} actions={actions}
                joined={joins(item, items[n - 1]) && item.key !== timeline.divider}
              />
            </Fragment>
          ))}
        </ol>
        {timeline.isEmpty && !timeline.loading && <Empty own={timeline.peerId === chat.userId} />}
        {timeline.failed && (
          <p class="aside" role="alert">
            {words.loadFailed}{" "}
            <button type="button" class="link" onClick={() => pressed(() => timeline.tryAgain())}>{words.tryAgain}</button>
          </p>
        )}
      </div>
      {timeline.loading && items.length === 0 && <p class="loading">{words.loading}</p>}
      {away && items.length > 0 && (
        <div class="float">
          {unread > 0 && (
            <button type="button" class="chip" onClick={() => pressed(() => chat.markAllRead())}>
              {words.unread(unread)} · {words.markAllRead}
            </button>
          )}
          <button
            type="button" class="round" aria-label={words.toNewest} title={words.toNewest}
            onClick={() => pressed(() => timeline.showNewest())}
          >
            <Icon name="down" />
          </button>
        </div>
      )}
      {!away && unread > 0 && (timeline.muchUnread || timeline.leftUnread) && (
        <div class="float top">
          <button type="button" class="chip" onClick={() => pressed(() => chat.markAllRead())}>
            {words.unreadAbove(unread)} · {words.markAllRead}
          </button>
        </div>
      )}
    </div>
  );
}

function Empty({ own }: { own: boolean }) {
  return (
    <div class="empty">
      <Icon name={own ? "note" : "talk"} />
      <h3>{words.nothingYet}</h3>
      <p>{own ? words.writeNote : words.sayHello}</p>
    </div>
  );
}

function startsDay(item: Item, before: Item | undefined): boolean {
  return before === undefined || dayOf(item.at) !== dayOf(before.at);
}

function joins(item: Item, before: Item | undefined): boolean {
  return before !== undefined && before.mine === item.mine && !startsDay(item, before) &&
    Math.abs(item.at - before.at) < TOGETHER_MS;
}

/** Keeps the place in the log, and sees what is seen. */
class Keeper {
  /** The first message in sight, and how far below the upper edge it begins. */
  #anchor: { key: string; top: number } | null = null;
  /** What stays where it is through the next change, and how far below the upper edge. */
  #held: { part: Element; top: number } | null = null;
  #looking = false;

  constructor(
    private readonly view: HTMLElement,
    private readonly chat: Chat,
    private readonly timeline: Timeline,
  ) {}

  hold(part: Element): void {
    this.#held = { part, top: this.#top(part) };
  }

  /** The document has changed below us: put it where it was. */
  settle(): void {
    const { view, timeline } = this;
    const held = this.#held;
    this.#held = null;
    if (held?.part.isConnected) {
      view.scrollTop += this.#top(held.part) - held.top;
      // The end may have gone out of sight, or come into it.
      this.scrolled();
      return;
    }
    const goTo = timeline.goTo === null ? null : this.#find(timeline.goTo);
    if (goTo) {
      if (!document.hidden) timeline.goTo = null;
      view.scrollTop += this.#top(goTo) - view.clientHeight / 4;
      timeline.pinned = this.#atEnd();
    } else if (timeline.pinned && timeline.atNewest) {
      view.scrollTop = view.scrollHeight;
    } else {
      const anchor = this.#anchor && this.#find(this.#anchor.key);
      if (anchor) view.scrollTop += this.#top(anchor) - this.#anchor!.top;
    }
    this.remember();
    this.#reach();
    this.look();
  }

  scrolled(): void {
    const pinned = this.#atEnd();
    if (pinned !== this.timeline.pinned && !this.timeline.loading) {
      this.timeline.pinned = pinned;
      this.chat.changed();
    }
    this.remember();
    this.#reach();
    this.look();
  }

  #atEnd(): boolean {
    const { scrollHeight, scrollTop, clientHeight } = this.view;
    return this.timeline.atNewest && scrollHeight - scrollTop - clientHeight < NEAR;
  }

  /** Asks for more near an edge; well before it, so that one seldom meets it. */
  #reach(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.view;
    const reach = Math.max(200, Math.min(clientHeight * 1.5, (scrollHeight - clientHeight) / 4));
    if (scrollTop < reach) this.timeline.showOlder();
    if (scrollHeight - scrollTop - clientHeight < reach && !this.timeline.pinned) {
      this.timeline.showNewer();
    }
  }

  /** Notes what is in sight, and where. */
  remember(): void {
    this.#anchor = null;
    for (const message of this.#messages()) {
      const top = this.#top(message);
      if (top + message.offsetHeight > 0) {
        this.#anchor = { key: message.dataset["key"]!, top };
        return;
      }
    }
  }

  /** Tells, once a frame, which unread messages are in sight: to the end, or over half the view. */
  look(): void {
    if (this.#looking) return;
    this.#looking = true;
    requestAnimationFrame(() => {
      this.#looking = false;
      if (document.hidden || !this.view.isConnected) return;
      const height = this.view.clientHeight;
      const seen = new Set<string>();
      let above = this.timeline.unreadBefore;
      for (const message of this.view.querySelectorAll<HTMLElement>("[data-unread]")) {
        const top = this.#top(message);
        const bottom = top + message.offsetHeight;
        above ||= bottom <= 0;
        if (height === 0 || bottom <= 0 || top >= height) continue;
        const shown = Math.min(bottom, height) - Math.max(top, 0);
        if (bottom <= height + NEAR || shown > height / 2) seen.add(message.dataset["key"]!);
      }
      if (above !== this.timeline.leftUnread) {
        this.timeline.leftUnread = above;
        this.chat.changed();
      }
      if (seen.size > 0) this.chat.saw(seen);
    });
  }

  #messages(): NodeListOf<HTMLElement> {
    return this.view.querySelectorAll<HTMLElement>("[data-key]");
  }

  #find(key: string): HTMLElement | null {
    return this.view.querySelector(`[data-key="${CSS.escape(key)}"]`);
  }

  #top(part: Element): number {
    return part.getBoundingClientRect().top - this.view.getBoundingClientRect().top;
  }
}
