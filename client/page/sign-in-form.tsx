// The way in: a token, pasted.

import { useRef, useState } from "preact/hooks";
import { Icon } from "./icons";
import { claims, find } from "./sign-in";

/** What the form says. */
export interface SignInWords {
  signInTitle: string;
  signInLead: string;
  token: string;
  signIn: string;
  howToIssue: string;
  noToken: string;
  tokenEnded: string;
}

interface Props {
  words: SignInWords;
  /** What makes a token that opens this page. */
  command: string;
  notice: string;
  signIn(token: string): void;
}

export function SignInForm({ words, command, notice, signIn }: Props) {
  const [wrong, setWrong] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  const submit = (event: Event) => {
    event.preventDefault();
    const token = find(field.current!.value);
    const about = token === null ? null : claims(token);
    setWrong("");
    if (token === null || about === null) setWrong(words.noToken);
    else if (about.endsAt < Date.now()) setWrong(words.tokenEnded);
    else signIn(token);
  };
  return (
    <main class="sign-in">
      <form onSubmit={submit} noValidate>
        <div class="mark"><Icon name="talk" /></div>
        <h1>{words.signInTitle}</h1>
        {notice && <p class="notice" role="status">{notice}</p>}
        <p>{words.signInLead}</p>
        <label for="token">{words.token}</label>
        <textarea
          id="token" ref={field} rows={4} autocomplete="off" autocapitalize="off" spellcheck={false}
          aria-invalid={wrong !== ""} aria-describedby={wrong ? "token-wrong" : undefined}
          onKeyDown={(event) => event.key === "Enter" && submit(event)}
        />
        {wrong && <p id="token-wrong" class="wrong" role="alert">{wrong}</p>}
        <button class="primary">{words.signIn}</button>
        <p class="quiet">{words.howToIssue}<br /><code>{command}</code></p>
      </form>
    </main>
  );
}
