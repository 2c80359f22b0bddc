// Asks before something that cannot be taken back.

import { useEffect, useRef, useState } from "preact/hooks";
import { words } from "./words";

interface Question {
  text: string;
  yes: string;
  answer(yes: boolean): void;
}

let put: (question: Question) => void = ({ answer }) => answer(false);

/** Whether the reader means it. */
export function ask(text: string, yes: string): Promise<boolean> {
  return new Promise((answer) => put({ text, yes, answer }));
}

/** Where questions appear; stands once on the page. */
export function Questions() {
  const [question, set] = useState<Question | null>(null);
  const dialog = useRef<HTMLDialogElement>(null);
  put = set;
  useEffect(() => {
    if (!question) return;
    dialog.current!.showModal();
    // Of a section that one has left nothing is done behind one's back.
    const left = () => dialog.current!.close("no");
    addEventListener("hashchange", left);
    return () => removeEventListener("hashchange", left);
  }, [question]);
  // Escape closes it too, with an answer of its own: none.
  const closed = () => {
    question?.answer(dialog.current!.returnValue === "yes");
    set(null);
  };
  return question && (
    <dialog ref={dialog} onClose={closed} aria-labelledby="question">
      <p id="question">{question.text}</p>
      <div class="row">
        {/* The first one has the focus: nothing happens by a key that was meant for something else. */}
        <button type="button" class="plain" onClick={() => dialog.current!.close("no")}>{words.cancel}</button>
        <button type="button" class="primary danger" onClick={() => dialog.current!.close("yes")}>{question.yes}</button>
      </div>
    </dialog>
  );
}
