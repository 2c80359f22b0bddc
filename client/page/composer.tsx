// Where a message is written.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Chat } from "./chat";
import { Icon } from "./icons";
import { words } from "./words";

/** No server can be set to take more, in bytes; what is much longer only makes the page slow. */
const LONGEST = 48 * 1024;

/** Mounted anew for each conversation, so that each has its own draft. */
export function Composer({ chat, peerId, name }: { chat: Chat; peerId: number; name: string }) {
  const [text, setText] = useState(() => chat.draftOf(peerId));
  const [refused, setRefused] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);

  // As high as its text; the style sheet says up to where.
  useLayoutEffect(() => {
    const { style, form } = field.current!;
    // The form stays as high meanwhile: the log above would grow for a moment, and lose its end.
    form!.style.minHeight = `${form!.offsetHeight}px`;
    style.height = "auto";
    style.height = `${field.current!.scrollHeight}px`;
    form!.style.minHeight = "";
  }, [text]);
  useLayoutEffect(() => {
    // On a phone the keyboard would cover what one came to read.
    if (matchMedia("(pointer: fine)").matches) field.current!.focus();
  }, []);

  const write = (value: string) => {
    setText(value);
    chat.keepDraft(peerId, value);
    if (value !== "") chat.client.typing(peerId);
  };
  const check = (event: InputEvent) => {
    const { value, selectionStart, selectionEnd } = field.current!;
    const added = event.data?.length ?? 0;
    const tooLong = added > 0 && value.length - (selectionEnd - selectionStart) + added > LONGEST;
    if (tooLong) event.preventDefault();
    setRefused(tooLong);
  };
  const send = () => {
    // What stands there now: the state is that of the last time it was drawn.
    const written = field.current!.value;
    if (written.trim() === "") return;
    chat.send(peerId, written);
    field.current!.value = "";
    setText("");
    field.current!.focus();
  };
  const pressed = (event: KeyboardEvent) => {
    // Enter also ends the choice of a Chinese character: that is not ours. In Safari the
    // choice is over by then, and only the key's number tells.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    send();
  };
  return (
    <form class="composer" onSubmit={(event) => { event.preventDefault(); send(); }}>
      {refused && <p class="wrong" role="alert">{words.tooLong}</p>}
      <textarea
        ref={field} rows={1} dir="auto" value={text} enterkeyhint="send"
        aria-label={words.messageTo(name)} placeholder={words.message}
        onBeforeInput={check} onInput={(event) => write(event.currentTarget.value)} onKeyDown={pressed}
      />
      <button
        class="round primary" aria-label={words.send} title={words.send}
        // Not `disabled`: a button that is pressed may not lose the focus under it.
        aria-disabled={text.trim() === ""}
      >
        <Icon name="send" />
      </button>
    </form>
  );
}
