// Who is connected, and sending somebody away for the moment.

import { useState } from "preact/hooks";
import { Outcome, useAct } from "./act";
import { ask } from "./ask";
import type { Calls } from "./calls";
import { count, when } from "./figures";
import { OfUser } from "./of-user";
import { Table, useList } from "./table";
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
  const [total, setTotal] = useState(0);
  const [unanswered, setUnanswered] = useState<string[]>([]);
  const act = useAct();
  const list = useList(async () => {
    const query = user === null ? "" : `&user=${user}`;
    const page = await calls.json<Page>("GET", `connections?limit=200${query}`);
    setTotal(page.total);
    setUnanswered(page.unanswered);
    return page.connections;
  }, [user]);
  const choose = (user: number | null) => {
    setUser(user);
    list.reload();
  };
  const close = (path: string) => act.run(async () => {
    const { closed, unanswered } = await calls.json<{ closed: number; unanswered: string[] }>("DELETE", path);
    list.reload();
    const said = words.closedSome(closed);
    if (unanswered.length > 0) throw new Error(`${said} ${words.notAsked(unanswered.join(", "))}`);
    return said;
  });
  const closeAll = async (user: number) => {
    if (await ask(words.sureToClose(user, total), words.closeAll)) await close(`connections?user=${user}`);
  };
  const several = list.rows.some((one) => one.node !== null);
  return (
    <section class="card">
      <OfUser choose={choose}>
        {user !== null && total > 0 && (
          <button type="button" class="plain danger" onClick={() => void closeAll(user)}>{words.closeAll}</button>
        )}
      </OfUser>
      <Outcome act={act} />
      {!list.bad && <p class="quiet">{words.shownOf(count(list.rows.length), count(total))} {words.closingHint}</p>}
      {!list.bad && unanswered.length > 0 && <p class="wrong" role="alert">{words.notAsked(unanswered.join(", "))}</p>}
      <Table
        label={words.connections} list={list} empty={words.nobodyConnected}
        head={[words.user, ...(several ? [words.node] : []), words.since, words.address, words.speaks, words.key, "jti", ""]}
        row={(one) => ({
          key: one.id,
          cells: [
            one.userId, ...(several ? [one.node ?? "–"] : []), when(one.since), one.address, one.dialect, <code>{one.kid ?? "–"}</code>, <code>{one.jti ?? "–"}</code>,
            <button class="link" aria-label={words.closeOf(one.userId)} onClick={() => void close(`connections/${one.id}`)}>{words.close}</button>,
          ],
        })}
      />
    </section>
  );
}
