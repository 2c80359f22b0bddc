// Issuing a token, and the ledger of those that were issued.

import { useState } from "preact/hooks";
import { Outcome, useAct } from "./act";
import { ask } from "./ask";
import type { Calls } from "./calls";
import { when } from "./figures";
import { Issue } from "./issue";
import { OfUser } from "./of-user";
import { revoke, revoked } from "./revoke";
import { Table, useLoaded } from "./table";
import { words } from "./words";
import type { Change, Made } from "./work";

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

interface Props {
  calls: Calls;
  shown: boolean;
  made: Made | null;
  change: Change;
}

export function Tokens({ calls, shown, made, change }: Props) {
  const [turn, next] = useState(0);
  return (
    <>
      <div hidden={!shown}>
        <Issue calls={calls} shown={shown} made={made} change={change} done={() => next((turn) => turn + 1)} />
      </div>
      {shown && <Ledger calls={calls} turn={turn} />}
    </>
  );
}

function Ledger({ calls, turn }: { calls: Calls; turn: number }) {
  const [user, setUser] = useState<number | null>(null);
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
