// The administrators' page begins here: who is signed in, and who is not any more.

import { render } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { App } from "./app";
import { Calls, Refused } from "./calls";
import type { Draft } from "./notify";
import { claims, forget, keep, kept, takeFromAddress } from "../page/sign-in";
import { SignInForm } from "../page/sign-in-form";
import { words } from "./words";

const COMMAND = "imserver token issue --sub 1 --admin";

const written = (by: number): Draft => ({ by, to: "", content: "", attempt: { what: "", id: "" } });

/** No timer can be set further ahead. */
const LONGEST_MS = 2 ** 31 - 1;

function Page() {
  const [token, setToken] = useState(() => takeFromAddress() ?? kept());
  const [notice, setNotice] = useState("");
  const about = useMemo(() => (token === null ? null : claims(token)), [token]);

  // Outlives the token: whoever makes a new one goes on writing. Another one begins anew.
  const [draft, setDraft] = useState(written(0));

  const end = (text: string) => {
    forget();
    setNotice(text);
    setToken(null);
  };
  // An answer that comes late may be about a token before this one.
  const letOut = (token: string) => kept() === token && end(words.letOut);
  const calls = useMemo(() => (token === null ? null : new Calls(token, () => letOut(token))), [token]);

  // A link that is opened in this tab only changes the part behind #.
  useEffect(() => {
    const changed = () => {
      const token = takeFromAddress();
      if (token) setToken(token);
    };
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  useEffect(() => {
    if (!about) return;
    const timer = setTimeout(() => end(words.ended), Math.min(about.endsAt - Date.now(), LONGEST_MS));
    return () => clearTimeout(timer);
  }, [about]);

  // The token that was pasted last: what becomes of one before it matters no more.
  const wanted = useRef("");
  const signIn = async (token: string) => {
    wanted.current = token;
    setNotice(words.checking);
    try {
      // Before it is kept: a user's token opens nothing here.
      await new Calls(token, () => {}).json("GET", "status");
      if (wanted.current !== token) return;
      keep(token);
      setNotice("");
      setToken(token);
    } catch (error) {
      if (wanted.current !== token) return;
      setNotice(error instanceof Refused && error.status === 401 ? words.notLetIn : (error as Error).message);
    }
  };
  const signOut = () => {
    setDraft(written(0));
    end(words.signedOut);
  };
  const by = about?.userId ?? 0;
  const of = (draft: Draft) => (draft.by === by ? draft : written(by));
  const change = (how: (draft: Draft) => Partial<Draft>) => setDraft((draft) => ({ ...of(draft), ...how(of(draft)) }));
  return calls && about
    ? <App calls={calls} about={about} draft={of(draft)} change={change} signOut={signOut} />
    : <SignInForm words={words} command={COMMAND} notice={notice} signIn={(token) => void signIn(token)} />;
}

document.documentElement.lang = words.lang;
document.title = `imserver · ${words.title}`;
render(<Page />, document.getElementById("page")!);
