// The page of somebody who is signed in: list, conversation, and how the connection is.

import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import type { Chat } from "./chat";
import { Conversation } from "./conversation";
import { Icon } from "./icons";
import { List } from "./list";
import { enter, leave, peerInAddress } from "./route";
import { words } from "./words";

/** A connection that is back sooner is not worth a word. */
const PATIENCE_MS = 1500;

export function App({ chat, signOut }: { chat: Chat; signOut: () => void }) {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const list = useRef<HTMLElement>(null);
  const talk = useRef<HTMLElement>(null);

  useEffect(() => {
    const follow = () => chat.show(peerInAddress());
    follow();
    addEventListener("popstate", follow);
    const stop = chat.onChange(() => draw(undefined as never));
    return () => {
      stop();
      removeEventListener("popstate", follow);
    };
  }, [chat]);

  // The focus goes with one into a conversation, and back to its line, by whatever way.
  const current = chat.open?.peerId;
  const before = useRef(current);
  useEffect(() => {
    const left = before.current;
    before.current = current;
    if (current === undefined) list.current!.querySelector<HTMLElement>(`[data-peer="${left}"]`)?.focus();
    else if (!talk.current!.contains(document.activeElement)) talk.current!.focus();
  }, [current]);

  const open = (peerId: number) => {
    enter(peerId);
    chat.show(peerId);
  };
  const close = () => {
    leave();
    chat.show(null);
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key === "Escape" && chat.open && !event.isComposing) close();
  };
  const skip = (event: Event) => {
    // By hand: the part of the address behind # names a conversation.
    event.preventDefault();
    talk.current?.focus();
  };
  return (
    <main class={chat.open ? "app talking" : "app"} onKeyDown={pressed}>
      <a class="skip" href="#talk" onClick={skip}>{words.skipToConversation}</a>
      <h1 class="hidden">imserver</h1>
      <Banner chat={chat} />
      <section class="pane list" ref={list}>
        <List chat={chat} open={open} signOut={signOut} />
      </section>
      <section class="pane talk" id="talk" ref={talk} tabIndex={-1} aria-label={words.conversation}>
        {chat.open
          ? <Conversation chat={chat} timeline={chat.open} leave={close} />
          : (
            <div class="empty">
              <Icon name="talk" />
              <h2>{words.choose}</h2>
              <p>{words.chooseHint}</p>
            </div>
          )}
      </section>
      <p class="hidden" role="status">{chat.announcement}</p>
    </main>
  );
}

/** Says how the connection is, when there is something to say. */
function Banner({ chat }: { chat: Chat }) {
  const { state } = chat.connection;
  const [patient, setPatient] = useState(true);
  useEffect(() => {
    setPatient(true);
    const timer = setTimeout(() => setPatient(false), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [state]);

  const text = state === "offline" ? words.offline
    : state === "failed" ? words.notUnderstood
    : state === "connecting" && !patient ? words.connecting
    : "";
  return (
    <div class={text ? `banner ${state}` : "banner none"} role="status">
      {text}
      {state === "failed" && (
        <button type="button" class="link" onClick={() => chat.client.connect()}>{words.tryAgain}</button>
      )}
    </div>
  );
}
