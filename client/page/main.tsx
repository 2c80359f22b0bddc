// The page begins here: who is signed in, and who is not any more.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { App } from "./app";
import { Chat } from "./chat";
import { forgetDrafts } from "./drafts";
import { reset } from "./route";
import { claims, forget, keep, kept, takeFromAddress } from "./sign-in";
import { SignInForm } from "./sign-in-form";
import { reason, words } from "./words";

function Page() {
  const [given] = useState(takeFromAddress);
  const [chat, setChat] = useState<Chat | null>(() => begin(given ?? kept()));
  const [notice, setNotice] = useState(given === "" ? words.brokenLink : "");
  const [last, setLast] = useState(chat?.userId);

  // A link that is opened in this tab only changes the part behind #.
  useEffect(() => {
    const changed = () => {
      const token = takeFromAddress();
      if (token) change(token);
      else if (token === "") setNotice(words.brokenLink);
    };
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  });
  useEffect(() => {
    if (!chat) return;
    setLast(chat.userId);
    const stop = chat.client.on("state", ({ state, reason: why }) => {
      if (state !== "signed-out") return;
      // The word itself, or a sentence that ends with it.
      const word = /\w*$/.exec(why)?.[0] ?? "";
      if (word === "logout") forgetDrafts(chat.userId);
      end(reason(words.signedOut, word));
    });
    return () => {
      stop();
      chat.dispose();
    };
  }, [chat]);

  const change = (token: string) => {
    setNotice("");
    setChat(begin(token));
  };
  const signIn = (token: string) => {
    keep(token);
    // Another user starts at the list; the same one goes on where the sign-in had ended, and the
    // first one where the address says.
    if (last !== undefined && claims(token)?.userId !== last) reset();
    change(token);
  };
  const end = (text: string) => {
    forget();
    setNotice(text);
    setChat(null);
  };
  const signOut = async () => {
    if (!chat) return;
    reset();
    forgetDrafts(chat.userId);
    await chat.client.logout();
    end(words.signedOut.logout);
  };
  return chat
    ? <App key={chat.userId} chat={chat} signOut={() => void signOut()} />
    : <SignInForm words={words} command="imserver token issue --sub 1" notice={notice} signIn={signIn} />;
}

function begin(token: string | null): Chat | null {
  const about = token === null ? null : claims(token);
  return about && new Chat(about.userId, { getToken: kept });
}

document.documentElement.lang = words.lang;
render(<Page />, document.getElementById("page")!);
