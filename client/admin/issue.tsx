// Issuing a token, which is shown once.

import { useEffect, useRef, useState } from "preact/hooks";
import { Outcome, useAct, userNumber } from "./act";
import { ask } from "./ask";
import type { Calls } from "./calls";
import { Field, text } from "./field";
import { when } from "./figures";
import { words } from "./words";
import type { Change, Made } from "./work";

interface Props {
  calls: Calls;
  /** Whether one looks at it. */
  shown: boolean;
  made: Made | null;
  change: Change;
  /** One was issued. */
  done(): void;
}

export function Issue({ calls, shown, made, change, done }: Props) {
  const act = useAct();
  // Once it was shown it goes with the section, and not with the administrator's own token.
  const seen = useRef(false);
  useEffect(() => {
    if (!shown && seen.current) change(() => ({ made: null }));
    seen.current = shown && made !== null;
  }, [shown, made]);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    change(() => ({ made: null }));
    void act.run(async () => {
      const sub = userNumber(text(form, "sub"));
      if (sub === null) throw new Error(words.noUser);
      const [name, picture] = [text(form, "name"), text(form, "picture")];
      const ttl = Math.round(Number(text(form, "amount")) * Number(text(form, "unit")));
      if (!(ttl >= 1)) throw new Error(words.noLifetime);
      const wanted = {
        sub, ttl, admin: text(form, "admin") !== "",
        ...(name && { name }), ...(picture && { picture }),
      };
      if (wanted.admin && !await ask(words.sureAdmin(sub), words.issue)) return words.nothingDone;
      const { token, until } = await calls.json<{ token: string; until: string }>("POST", "tokens", wanted);
      change(() => ({ made: { token, until, sub } }));
      done();
      return "";
    });
  };
  return (
    <section class="card">
      <h3>{words.issueTitle}</h3>
      <form class="grid" onSubmit={submit} noValidate>
        <Field name={words.user}><input name="sub" inputMode="numeric" autocomplete="off" /></Field>
        <Field name={words.name} hint={words.optional}><input name="name" autocomplete="off" /></Field>
        <Field name={words.picture} hint={words.optional}><input name="picture" inputMode="url" autocomplete="off" placeholder="https://" /></Field>
        <div class="pair">
          {/* Not value: every look at the server's status draws anew, and would undo what was typed. */}
          <Field name={words.lifetime}><input name="amount" inputMode="decimal" defaultValue="1" /></Field>
          <Field name={words.unit}>
            <select name="unit">
              <option value="60">{words.minutes}</option>
              <option value="3600" selected>{words.hours}</option>
              <option value="86400">{words.days}</option>
            </select>
          </Field>
        </div>
        <label class="check"><input type="checkbox" name="admin" value="1" /> {words.isAdmin}</label>
        <button class="primary" disabled={act.busy}>{words.issue}</button>
      </form>
      <Outcome act={made ? { ...act, good: words.issued(made.sub, when(made.until)) } : act} />
      {made && <Shown token={made.token} inSight={shown} />}
    </section>
  );
}

/** The token: here and now, and nowhere else. */
function Shown({ token, inSight }: { token: string; inSight: boolean }) {
  const whole = useRef<HTMLDivElement>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const [copied, setCopied] = useState(false);
  // On a phone the form alone fills the window.
  useEffect(() => whole.current!.scrollIntoView({ block: "nearest" }), [token, inSight]);
  const copy = async () => {
    field.current!.select();
    try {
      await navigator.clipboard.writeText(token);
      setCopied(true);
    } catch {
      // A page that came without TLS has no clipboard, and a browser may refuse it; the
      // selection can be copied all the same.
      setCopied(document.execCommand("copy"));
    }
  };
  return (
    <div class="made" ref={whole}>
      <textarea ref={field} readOnly rows={3} value={token} aria-label={words.newToken} spellcheck={false} />
      <button type="button" class="plain" onClick={() => void copy()}>{copied ? words.copied : words.copy}</button>
      <p class="quiet">{words.shownOnce}</p>
    </div>
  );
}
