// One message.

import type { TargetedMouseEvent } from "preact";
import { useRef, useState } from "preact/hooks";
import { Icon } from "./icons";
import { clockTime } from "./times";
import type { Item } from "./timeline";
import { reason, words } from "./words";

/** Messages longer than this are shown in part: one is 16 KiB at most. */
const LONG = 1200;
const LINES = 20;

export interface BubbleActions {
  retry(clientMsgId: string): void;
  /** Puts it back to where one writes. */
  edit(clientMsgId: string): void;
  discard(clientMsgId: string): void;
  /** The bubble is about to grow or shrink: this part of it stays where it is. */
  hold(part: Element): void;
}

export function Bubble({ item, from, joined, actions }: {
  item: Item;
  /** The sender, for those who listen. */
  from: string;
  /** Written right after the one before, by the same. */
  joined: boolean;
  actions: BubbleActions;
}) {
  return (
    <li
      class={`message${item.mine ? " mine" : ""}${joined ? " joined" : ""} ${item.state}`}
      data-key={item.key}
      data-unread={item.unread ? "" : undefined}
    >
      <div class="bubble">
        {item.mine ? null : <span class="hidden">{from}: </span>}
        <Text content={item.content} hold={actions.hold} />
        <span class="meta">
          <time dateTime={new Date(item.at).toISOString()}>{clockTime(item.at)}</time>
          {item.mine && (
            <span class="tick" role="img" aria-label={words[item.state]} title={words[item.state]}>
              <Icon name={item.state} />
            </span>
          )}
        </span>
      </div>
      {item.state === "failed" && <Failed item={item} actions={actions} />}
    </li>
  );
}

/** The text is a text node, whatever it looks like, and its writing direction ends with it. */
function Text({ content, hold }: { content: string; hold: BubbleActions["hold"] }) {
  const [all, setAll] = useState(false);
  const text = useRef<HTMLParagraphElement>(null);
  const short = shortened(content);
  // Who opens it reads on where the part ended, and who closes it has seen the end.
  const toggle = (event: TargetedMouseEvent<HTMLButtonElement>) => {
    hold(all ? event.currentTarget : text.current!);
    setAll(!all);
  };
  return (
    <>
      <p class="text" dir="auto" ref={text}>{all ? content : short}</p>
      {short !== content && (
        <button type="button" class="link" aria-expanded={all} onClick={toggle}>
          {all ? words.showLess : words.showAll}
        </button>
      )}
    </>
  );
}

function shortened(content: string): string {
  const lines = content.split("\n", LINES + 1);
  let short = lines.length > LINES ? lines.slice(0, LINES).join("\n") : content;
  if (short.length > LONG) {
    // Never between the halves of a character.
    short = short.slice(0, LONG).replace(/[\ud800-\udbff]$/, "");
  }
  return short.length < content.length ? `${short} …` : content;
}

function Failed({ item, actions }: { item: Item; actions: BubbleActions }) {
  return (
    <div class="failure" role="group" aria-label={words.failed}>
      <span>{words.failed}: {reason(words.failure, item.outgoing?.code)}</span>
      {item.outgoing?.code === "content_too_large" && (
        <button type="button" class="link" onClick={() => actions.edit(item.key)}>{words.edit}</button>
      )}
      <button type="button" class="link" onClick={() => actions.retry(item.key)}>{words.tryAgain}</button>
      <button type="button" class="link" onClick={() => actions.discard(item.key)}>{words.discard}</button>
    </div>
  );
}
