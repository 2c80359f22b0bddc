// The open conversation: who it is with, what was said, and where one answers.

import { Avatar } from "./avatar";
import type { Chat } from "./chat";
import { Composer } from "./composer";
import { Icon } from "./icons";
import { Log } from "./log";
import type { Timeline } from "./timeline";
import { words } from "./words";

export function Conversation({ chat, timeline, leave }: {
  chat: Chat;
  timeline: Timeline;
  leave: () => void;
}) {
  const { peerId } = timeline;
  const name = chat.nameOf(peerId);
  return (
    <>
      <header class="bar">
        <button type="button" class="round back" aria-label={words.back} title={words.back} onClick={leave}>
          <Icon name="back" />
        </button>
        <Avatar peerId={peerId} me={chat.userId} name={name} />
        <div class="who">
          <h2 dir="auto">{name}</h2>
          <p>{chat.isTyping(peerId) ? <span class="typing">{words.typing}</span> : about(chat, peerId, name)}</p>
        </div>
      </header>
      <Log key={peerId} chat={chat} timeline={timeline} name={name} />
      {peerId === 0
        ? <p class="read-only">{words.readOnly}</p>
        : <Composer key={`${peerId} ${chat.edits}`} chat={chat} peerId={peerId} name={name} />}
    </>
  );
}

/** The number behind a name: names are chosen, numbers are not. */
function about(chat: Chat, peerId: number, name: string): string {
  const number = words.user(peerId);
  return peerId === 0 || peerId === chat.userId || name === number ? "" : number;
}
