// The administrators' page begins here: who is signed in, and who is not any more.

import { render } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { App } from "./app";
import { Calls, Refused } from "./calls";
import { claims, forget, keep, kept, takeFromAddress } from "../page/sign-in";
import { SignInForm } from "../page/sign-in-form";
import { words } from "./words";
import { begun } from "./work";
import type { Work } from "./work";

const COMMAND = "imserver token issue --sub 1 --admin";

/** No timer can be set further ahead: one that waits for longer is set again. */
const LONGEST_MS = 2 ** 31 - 1;

function Page() {
  const [given] = useState(takeFromAddress);
  const [token, setToken] = useState(given ?? kept());
  const [notice, setNotice] = useState(given === "" ? words.brokenLink : "");
  const about = useMemo(() => (token === null ? null : claims(token)), [token]);

  // Outlives the token: whoever makes a new one goes on. Another one begins anew.
  const [work, setWork] = useState(begun(0));

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
      else if (token === "") setNotice(words.brokenLink);
    };
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  useEffect(() => {
    if (!about) return;
    let timer = 0;
    const wait = () => {
      const left = about.endsAt - Date.now();
      if (left <= 0) end(words.ended);
      else timer = window.setTimeout(wait, Math.min(left, LONGEST_MS));
    };
    wait();
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
    setWork(begun(0));
    end(words.signedOut);
  };
  const by = about?.userId ?? 0;
  const of = (work: Work) => (work.by === by ? work : begun(by));
  const change = (how: (work: Work) => Partial<Work>) => setWork((work) => ({ ...of(work), ...how(of(work)) }));
  return calls && about
    ? <App calls={calls} about={about} work={of(work)} change={change} signOut={signOut} />
    : <SignInForm words={words} command={COMMAND} notice={notice} signIn={(token) => void signIn(token)} />;
}

document.documentElement.lang = words.lang;
document.title = `imserver · ${words.title}`;
render(<Page />, document.getElementById("page")!);
