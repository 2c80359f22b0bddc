// Issuing a token, and the ledger of those that were issued.

import { useRef, useState } from "preact/hooks";
import { Outcome, useAct, userNumber } from "./act";
import { ask } from "./ask";
import type { Calls } from "./calls";
import { Field, text } from "./field";
import { when } from "./figures";
import { OfUser } from "./of-user";
import { revoke, revoked } from "./revoke";
import { Table, useLoaded } from "./table";
import { words } from "./words";

interface Entry {
  jti: string;
  sub: number;
  kid: string | null;
  issued: string;
  until: string;
  admin: boolean;
  by: string;
}

/** Lines of the ledger that are shown; the newest count. */
const SHOWN = 200;

export function Tokens({ calls }: { calls: Calls }) {
  const [user, setUser] = useState<number | null>(null);
  const [turn, next] = useState(0);
  return (
    <>
      <Issue calls={calls} done={() => next(turn + 1)} />
      <Ledger calls={calls} user={user} setUser={setUser} turn={turn} />
    </>
  );
}

function Issue({ calls, done }: { calls: Calls; done(): void }) {
  const [made, setMade] = useState<{ token: string; sub: number; until: string } | null>(null);
  const act = useAct();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    setMade(null);
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
      setMade({ token, until, sub });
      done();
      return words.issued(sub, when(until));
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
      <Outcome act={act} />
      {made && <Made token={made.token} />}
    </section>
  );
}

/** The token: here and now, and nowhere else. */
function Made({ token }: { token: string }) {
  const field = useRef<HTMLTextAreaElement>(null);
  const [copied, setCopied] = useState(false);
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
    <div class="made">
      <textarea ref={field} readOnly rows={3} value={token} aria-label={words.newToken} spellcheck={false} />
      <button type="button" class="plain" onClick={() => void copy()}>{copied ? words.copied : words.copy}</button>
      <p class="quiet">{words.shownOnce}</p>
    </div>
  );
}

function Ledger({ calls, user, setUser, turn }: {
  calls: Calls; user: number | null; setUser(user: number | null): void; turn: number;
}) {
  const [ended, setEnded] = useState(false);
  const act = useAct();
  const { page, bad, reload } = useLoaded(async () => {
    const taken = await revoked(calls);
    const rows: (Entry & { state: string })[] = [];
    await calls.lines<Entry>("GET", user === null ? "tokens" : `tokens?sub=${user}`, undefined, (entry) => {
      const over = Date.parse(entry.until) < Date.now();
      if (over && !ended) return;
      rows.push({ ...entry, state: over ? words.over : taken(entry) ? words.isRevoked : "" });
      if (rows.length > SHOWN) rows.shift();
    });
    return rows.reverse();
  }, [user, ended], turn);
  const choose = (user: number | null) => {
    setUser(user);
    reload();
  };
  const takeBack = async (entry: Entry) => {
    if (!await ask(words.sureToRevoke(entry.jti, entry.sub), words.revoke)) return;
    await act.run(async () => {
      await revoke(calls, { jti: entry.jti });
      reload();
      return words.revokedOne(entry.jti);
    });
  };
  return (
    <section class="card">
      <h3>{words.ledger}</h3>
      <OfUser choose={choose}>
        <label class="check">
          <input type="checkbox" checked={ended} onChange={(event) => setEnded(event.currentTarget.checked)} /> {words.alsoOver}
        </label>
      </OfUser>
      <div class="acted">
        <Table
          label={words.ledger} rows={page} bad={bad} empty={words.noTokens}
          head={[words.user, words.issuedAt, words.ends, words.kind, words.key, words.by, "jti", ""]}
          row={(one) => ({
            key: one.jti,
            cells: [
              one.sub, when(one.issued), when(one.until), one.admin ? <b>{words.administrator}</b> : words.user,
              <code>{one.kid ?? "–"}</code>, one.by, <code>{one.jti}</code>,
              one.state || <button class="link danger" disabled={act.busy} aria-label={words.revokeOf(one.jti)} onClick={() => void takeBack(one)}>{words.revoke}</button>,
            ],
          })}
        />
        {page?.length === SHOWN && <p class="quiet">{words.newestOnly(SHOWN)}</p>}
        <Outcome act={act} />
      </div>
    </section>
  );
}
