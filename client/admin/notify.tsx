// A message from the system, to some or to everybody.

import { useState } from "preact/hooks";
import { Outcome, useAct, userNumbers } from "./act";
import { ask } from "./ask";
import type { Calls } from "./calls";
import { Field } from "./field";
import { count } from "./figures";
import { words } from "./words";
import type { Change, Work } from "./work";

type Line =
  | { clientMsgId: string }
  | { userId: number; messageId: string; duplicate: boolean }
  | { userId: number; code: string; message: string }
  | { sent: number; duplicates: number; failed: number; complete: boolean };

/** Failures that are named; more are counted. */
const NAMED = 20;

interface Props {
  calls: Calls;
  work: Work;
  change: Change;
}

export function Notify({ calls, work: { to: typed, content, attempt }, change }: Props) {
  const [all, setAll] = useState(false);
  const users = userNumbers(typed);
  const [reached, setReached] = useState(0);
  const [failed, setFailed] = useState<string[]>([]);
  const act = useAct();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const to = all ? "all" : users;
    setReached(0);
    setFailed([]);
    void act.run(async () => {
      if (to === null) throw new Error(words.noUsers);
      if (to.length === 0) throw new Error(words.nobodyNamed);
      if (content.trim() === "") throw new Error(words.nothingWritten);
      if (all && !await ask(words.sureToAll, words.sendToAll)) return words.nothingDone;
      const what = JSON.stringify([to, content]);
      const id = attempt.what === what ? attempt.id : crypto.randomUUID();
      change(() => ({ attempt: { what, id } }));
      const sum = await send(calls, { to, content, clientMsgId: id }, setReached, setFailed);
      if (!sum?.complete) throw new Error(words.notComplete(count(sum?.sent ?? 0)));
      change((now) => ({
        attempt: { what: "", id: "" },
        content: sum.failed === 0 && now.content === content ? "" : now.content,
      }));
      return words.sentTo(count(sum.sent), sum.duplicates, sum.failed);
    });
  };
  const bytes = new TextEncoder().encode(content).length;
  return (
    <section class="card">
      <form class="stack" onSubmit={submit} noValidate>
        <fieldset class="row">
          <legend>{words.recipients}</legend>
          <label class="check"><input type="radio" name="whom" checked={!all} onChange={() => setAll(false)} /> {words.theseUsers}</label>
          <label class="check"><input type="radio" name="whom" checked={all} onChange={() => setAll(true)} /> {words.allKnown}</label>
        </fieldset>
        {!all && (
          <Field name={words.users} hint={users === null ? words.noUsers : words.toSome(users.length)}>
            <textarea
              name="to" rows={2} spellcheck={false} inputMode="numeric" placeholder="1, 2, 3" aria-invalid={users === null}
              value={typed} onInput={({ currentTarget: { value } }) => change(() => ({ to: value }))}
            />
          </Field>
        )}
        <Field name={words.message} hint={words.bytes(count(bytes))}>
          <textarea name="content" rows={4} value={content} onInput={({ currentTarget: { value } }) => change(() => ({ content: value }))} />
        </Field>
        <div class="row">
          <button class="primary" disabled={act.busy}>
            {all ? words.sendToAll : words.sendToSome(users?.length ?? 0)}
          </button>
          {act.busy && reached > 0 && <span class="quiet">{words.reached(count(reached))}</span>}
        </div>
      </form>
      <Outcome act={act} />
      {failed.length > 0 && <ul class="plain-list">{failed.map((line) => <li key={line} class="wrong">{line}</li>)}</ul>}
    </section>
  );
}

async function send(
  calls: Calls, body: unknown, reached: (many: number) => void, failed: (lines: string[]) => void,
): Promise<Extract<Line, { complete: boolean }> | null> {
  let many = 0;
  let sum = null as Extract<Line, { complete: boolean }> | null;
  const lines: string[] = [];
  await calls.lines<Line>("POST", "notifications", body, (line) => {
    if ("complete" in line) sum = line;
    else if ("messageId" in line) many++;
    else if ("code" in line && lines.length < NAMED) lines.push(words.failedFor(line.userId, line.message));
    if (many % 100 === 0) reached(many);
  });
  failed(lines);
  return sum;
}
