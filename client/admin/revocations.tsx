// Taking tokens back, keeping users out, and the list of both.

import { useState } from "preact/hooks";
import { Outcome, useAct, userNumber } from "./act";
import { ask } from "./ask";
import type { Calls } from "./calls";
import { Field, clear, text } from "./field";
import { when } from "./figures";
import { revocations, revoke } from "./revoke";
import type { Revocation, Target } from "./revoke";
import { Table, useLoaded } from "./table";
import type { Loaded } from "./table";
import { find } from "../page/sign-in";
import { words } from "./words";

/** Lines that are shown. */
const SHOWN = 500;

export function Revocations({ calls }: { calls: Calls }) {
  const list = useLoaded(() => revocations(calls));
  return (
    <>
      <div class="two">
        <TakeBack calls={calls} done={list.reload} />
        <KeepOut calls={calls} done={list.reload} />
      </div>
      <InForce calls={calls} list={list} />
    </>
  );
}

function TakeBack({ calls, done }: { calls: Calls; done(): void }) {
  const [ofUser, setOfUser] = useState(false);
  const act = useAct();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const typed = text(form, "what");
    void act.run(async () => {
      let target: Target;
      if (ofUser) {
        const sub = userNumber(typed);
        if (sub === null) throw new Error(words.noUser);
        if (!await ask(words.sureAllOf(sub), words.revoke)) return words.nothingDone;
        target = { sub };
      } else {
        if (typed === "") throw new Error(words.nothingTyped);
        const token = find(typed);
        // A header in JSON begins with these letters; a jti with two dots in it does not.
        target = token?.startsWith("eyJ") ? { token } : { jti: typed };
      }
      const { revoked, remark } = await revoke(calls, target);
      clear(form, "what", typed);
      done();
      return [revoked ? words.inForceNow(describe(revoked)) : "", remark ? words.remark(remark) : ""].filter(Boolean).join(" ");
    });
  };
  return (
    <section class="card">
      <h3>{words.revokeTitle}</h3>
      <form class="stack" onSubmit={submit} noValidate>
        <fieldset class="row">
          <legend class="hidden">{words.whatToRevoke}</legend>
          <label class="check"><input type="radio" name="of" checked={!ofUser} onChange={() => setOfUser(false)} /> {words.oneToken}</label>
          <label class="check"><input type="radio" name="of" checked={ofUser} onChange={() => setOfUser(true)} /> {words.allOfUser}</label>
        </fieldset>
        <Field name={ofUser ? words.user : words.tokenOrJti} hint={ofUser ? words.allHint : words.oneHint}><input name="what" autocomplete="off" spellcheck={false} /></Field>
        <button class="primary danger" disabled={act.busy}>{words.revoke}</button>
      </form>
      <Outcome act={act} />
    </section>
  );
}

function KeepOut({ calls, done }: { calls: Calls; done(): void }) {
  const act = useAct();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const enable = event.submitter?.getAttribute("value") === "enable";
    const typed = text(form, "user");
    void act.run(async () => {
      const user = userNumber(typed);
      if (user === null) throw new Error(words.noUser);
      if (!enable && !await ask(words.sureToDisable(user), words.disable)) return words.nothingDone;
      await calls.json("POST", `users/${user}/${enable ? "enable" : "disable"}`);
      clear(form, "user", typed);
      done();
      return enable ? words.enabled(user) : words.disabled(user);
    });
  };
  return (
    <section class="card">
      <h3>{words.keepOutTitle}</h3>
      <form class="stack" onSubmit={submit} noValidate>
        <Field name={words.user} hint={words.keepOutHint}><input name="user" inputMode="numeric" autocomplete="off" /></Field>
        <div class="row">
          <button class="primary danger" value="disable" disabled={act.busy}>{words.disable}</button>
          <button class="plain" value="enable" disabled={act.busy}>{words.enable}</button>
        </div>
      </form>
      <Outcome act={act} />
    </section>
  );
}

function InForce({ calls, list: { page, bad, reload } }: { calls: Calls; list: Loaded<Revocation[]> }) {
  const act = useAct();
  const enable = (user: number) => act.run(async () => {
    await calls.json("POST", `users/${user}/enable`);
    reload();
    return words.enabled(user);
  });
  return (
    <section class="card">
      <h3>{words.revokedNow}</h3>
      <div class="acted">
        <Table
          label={words.revokedNow} rows={page && page.slice(0, SHOWN)} bad={bad} empty={words.nothingRevoked}
          head={[words.kind, words.what, words.forgotten, ""]}
          row={(one) => ({
            key: `${one.kind} ${one.jti ?? one.sub} ${one.issuedUpTo}`,
            cells: [
              words.revocationKind[one.kind],
              one.kind === "token" ? <code>{one.jti}</code>
                : one.kind === "user" ? words.userNamed(one.sub!)
                : words.issuedUpTo(one.sub!, when(one.issuedUpTo!)),
              one.until ? when(one.until) : words.untilEnabled,
              one.kind === "user"
                ? <button class="link" disabled={act.busy} aria-label={words.enableOf(one.sub!)} onClick={() => void enable(one.sub!)}>{words.enable}</button>
                : null,
            ],
          })}
        />
        {page && page.length > SHOWN && <p class="quiet">{words.shownOf(String(SHOWN), String(page.length))}</p>}
        <Outcome act={act} />
      </div>
    </section>
  );
}

function describe({ kind, jti, sub, issuedUpTo }: Revocation): string {
  return kind === "token" ? jti! : kind === "user" ? words.userNamed(sub!) : words.issuedUpTo(sub!, when(issuedUpTo!));
}
