// Who is connected, and sending somebody away for the moment.

import { useState } from "preact/hooks";
import { Outcome, useAct } from "./act";
import { ask } from "./ask";
import type { Calls } from "./calls";
import { count, when } from "./figures";
import { OfUser } from "./of-user";
import { Table, useLoaded } from "./table";
import { words } from "./words";

interface Connection {
  id: string;
  userId: number;
  since: number;
  address: string;
  dialect: string;
  jti: string | null;
  kid: string | null;
  /** Null where there is one node alone. */
  node: string | null;
}

interface Page {
  connections: Connection[];
  total: number;
  /** Names of nodes. */
  unanswered: string[];
}

export function Connections({ calls }: { calls: Calls }) {
  const [user, setUser] = useState<number | null>(null);
  const act = useAct();
  const query = user === null ? "" : `&user=${user}`;
  const { page, bad, reload } = useLoaded(() => calls.json<Page>("GET", `connections?limit=200${query}`), [user]);
  const choose = (user: number | null) => {
    setUser(user);
    reload();
  };
  const close = (path: string) => act.run(async () => {
    const { closed, unanswered } = await calls.json<{ closed: number; unanswered: string[] }>("DELETE", path);
    reload();
    const said = words.closedSome(closed);
    if (unanswered.length > 0) throw new Error(`${said} ${words.notAsked(unanswered.join(", "))}`);
    return said;
  });
  const closeAll = async (user: number, total: number) => {
    if (await ask(words.sureToClose(user, total), words.closeAll)) await close(`connections?user=${user}`);
  };
  const several = page?.connections.some((one) => one.node !== null);
  return (
    <section class="card">
      <OfUser choose={choose}>
        {user !== null && page && page.total > 0 && (
          <button type="button" class="plain danger" disabled={act.busy} onClick={() => void closeAll(user, page.total)}>{words.closeAll}</button>
        )}
      </OfUser>
      {page && <p class="quiet">{words.shownOf(count(page.connections.length), count(page.total))} {words.closingHint}</p>}
      {page && page.unanswered.length > 0 && <p class="wrong" role="alert">{words.notAsked(page.unanswered.join(", "))}</p>}
      <div class="acted">
        <Table
          label={words.connections} rows={page && page.connections} bad={bad} empty={words.nobodyConnected}
          head={[words.user, ...(several ? [words.node] : []), words.since, words.address, words.speaks, words.key, "jti", ""]}
          row={(one) => ({
            key: one.id,
            cells: [
              one.userId, ...(several ? [one.node ?? "–"] : []), when(one.since), one.address, one.dialect, <code>{one.kid ?? "–"}</code>, <code>{one.jti ?? "–"}</code>,
              <button class="link" disabled={act.busy} aria-label={words.closeOf(one.userId)} onClick={() => void close(`connections/${one.id}`)}>{words.close}</button>,
            ],
          })}
        />
        <Outcome act={act} />
      </div>
    </section>
  );
}
