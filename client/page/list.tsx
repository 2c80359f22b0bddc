// The list of conversations, newest first.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Avatar } from "./avatar";
import type { Chat } from "./chat";
import { Icon } from "./icons";
import type { Line } from "./lines";
import { ask, canAsk } from "./notify";
import { brief, timeOf } from "./times";
import { words } from "./words";

export function List({ chat, open, signOut }: {
  chat: Chat;
  open: (peerId: number) => void;
  signOut: () => void;
}) {
  const [starting, setStarting] = useState(false);
  const [asked, setAsked] = useState(!canAsk());
  const plus = useRef<HTMLButtonElement>(null);
  const start = (peerId: number) => {
    setStarting(false);
    open(peerId);
  };
  const cancel = () => {
    setStarting(false);
    plus.current!.focus();
  };
  return (
    <>
      <header class="bar">
        <Avatar peerId={chat.userId} me={0} name={chat.userName || words.user(chat.userId)} />
        <div class="who">
          <h2 dir="auto">{chat.userName || words.user(chat.userId)}</h2>
          {chat.userName && <p>{words.user(chat.userId)}</p>}
        </div>
        {!asked && (
          <button
            type="button" class="round" aria-label={words.notify} title={words.notify}
            onClick={() => void ask().finally(() => setAsked(!canAsk()))}
          >
            <Icon name="bell" />
          </button>
        )}
        <button type="button" class="round" aria-label={words.signOut} title={words.signOut} onClick={signOut}>
          <Icon name="leave" />
        </button>
        <button
          type="button" class="round" aria-label={words.newConversation} title={words.newConversation} ref={plus}
          aria-expanded={starting} onClick={() => setStarting(!starting)}
        >
          <Icon name="plus" />
        </button>
      </header>
      {starting && <Start me={chat.userId} start={start} cancel={cancel} />}
      <Lines chat={chat} open={open} />
    </>
  );
}

/** Begins a conversation with somebody who is not in the list. */
function Start({ me, start, cancel }: {
  me: number;
  start: (peerId: number) => void;
  cancel: () => void;
}) {
  const [wrong, setWrong] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  // Once: whoever writes elsewhere meanwhile keeps the focus, however often this is drawn.
  useLayoutEffect(() => field.current!.focus(), []);
  const submit = (event: Event) => {
    event.preventDefault();
    const text = field.current!.value.trim();
    const peerId = /^[1-9]\d*$/.test(text) ? Number(text) : NaN;
    if (Number.isSafeInteger(peerId)) start(peerId);
    else setWrong(true);
  };
  return (
    <form
      class="start" onSubmit={submit} noValidate
      onKeyDown={(event) => event.key === "Escape" && (event.stopPropagation(), cancel())}
    >
      <label for="peer">{words.userNumber}</label>
      <input
        id="peer" ref={field} inputMode="numeric" autocomplete="off"
        aria-invalid={wrong} aria-describedby={wrong ? "peer-wrong" : undefined}
      />
      <button class="primary">{words.open}</button>
      {wrong && <p id="peer-wrong" class="wrong" role="alert">{words.userNumberWrong}</p>}
      <button type="button" class="link" onClick={() => start(me)}>{words.notes}</button>
      <button type="button" class="link" onClick={cancel}>{words.cancel}</button>
    </form>
  );
}

function Lines({ chat, open }: { chat: Chat; open: (peerId: number) => void }) {
  const list = useRef<HTMLUListElement>(null);
  const current = chat.open?.peerId;
  // One stop for the Tab key; the arrows go on from there.
  const stop = chat.lines.some((line) => line.peerId === current) ? current : chat.lines[0]?.peerId;

  const pressed = (event: KeyboardEvent) => {
    const buttons = [...list.current!.querySelectorAll<HTMLButtonElement>("button.line")];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    buttons[Math.max(0, Math.min(buttons.length - 1, to))]?.focus();
  };
  return (
    <nav class="lines" aria-label={words.conversations}>
      <ul ref={list} onKeyDown={pressed}>
        {chat.lines.map((line) => (
          <li key={line.peerId}>
            <button
              type="button" class="line" data-peer={line.peerId}
              aria-current={line.peerId === current ? "true" : undefined}
              tabIndex={line.peerId === stop ? 0 : -1} onClick={() => open(line.peerId)}
            >
              <LineContent chat={chat} line={line} />
            </button>
          </li>
        ))}
      </ul>
      {chat.lines.length === 0 && !chat.listLoading && !chat.listFailed && (
        <div class="empty">
          <Icon name="talk" />
          <h2>{words.noConversations}</h2>
          <p>{words.noConversationsHint}</p>
        </div>
      )}
      {chat.lines.length === 0 && chat.listLoading && <p class="loading">{words.loading}</p>}
      {chat.listFailed && (
        <p class="aside" role="alert">
          {words.loadFailed}{" "}
          <button type="button" class="link" onClick={() => void chat.loadList()}>{words.tryAgain}</button>
        </p>
      )}
      {chat.more !== null && chat.lines.length > 0 && (
        <button
          // Not `disabled`: a button that is pressed may not lose the focus under it.
          type="button" class="link more" aria-disabled={chat.listLoading}
          onClick={() => chat.listLoading || void chat.loadList(chat.more!)}
        >
          {words.loadMore}
        </button>
      )}
    </nav>
  );
}

function LineContent({ chat, line }: { chat: Chat; line: Line }) {
  const { peerId } = line;
  const name = chat.nameOf(peerId);
  const isOpen = chat.open?.peerId === peerId;
  // What is in sight is read in a moment: its number would only flash.
  const inSight = isOpen && chat.open!.pinned && !chat.open!.leftUnread && !document.hidden;
  const unread = inSight ? 0 : chat.unreadOf(peerId);
  const waiting = chat.client.outbox.findLast((one) => one.toId === peerId);
  const at = waiting?.createdAt ?? (line.last ? timeOf(line.last) : null);
  return (
    <>
      <Avatar peerId={peerId} me={chat.userId} name={name} />
      <span class="name" dir="auto">{name}</span>
      {at !== null && <time dateTime={new Date(at).toISOString()}>{brief(at)}</time>}
      <span class="preview" dir="auto"><Preview chat={chat} line={line} /></span>
      {unread > 0 && (
        <span class="badge">
          <span aria-hidden="true">{unread > 999 ? "999+" : unread}</span>
          <span class="hidden">{words.unread(unread)}</span>
        </span>
      )}
    </>
  );
}

function Preview({ chat, line: { peerId, last } }: { chat: Chat; line: Line }) {
  if (chat.isTyping(peerId)) return <span class="typing">{words.typing}</span>;
  const draft = chat.open?.peerId === peerId ? "" : chat.draftOf(peerId);
  if (draft !== "") return <><span class="draft">{words.draft}</span> {draft.slice(0, 100)}</>;
  const waiting = chat.client.outbox.findLast((one) => one.toId === peerId);
  const content = (waiting ?? last)?.content.slice(0, 100) ?? "";
  const mine = waiting !== undefined || last?.fromId === chat.userId;
  return <>{mine && peerId !== chat.userId ? words.you(content) : content}</>;
}
