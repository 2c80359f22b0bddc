// The page of an administrator who is signed in.

import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { Questions } from "./ask";
import type { Calls } from "./calls";
import { Connections } from "./connections";
import { span } from "./figures";
import { Notify } from "./notify";
import { Overview } from "./overview";
import { Revocations } from "./revocations";
import { Tokens } from "./tokens";
import { Watch } from "./watch";
import { words } from "./words";
import type { Change, Work } from "./work";

const SECTIONS = ["overview", "connections", "tokens", "revocations", "notify"] as const;
type Section = typeof SECTIONS[number];

interface Props {
  calls: Calls;
  about: { userId: number; endsAt: number };
  work: Work;
  change: Change;
  signOut(): void;
}

export function App({ calls, about, work, change, signOut }: Props) {
  const [watch, setWatch] = useState<Watch | null>(null);
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const [section, setSection] = useState(sectionInAddress);
  const main = useRef<HTMLElement>(null);
  const nav = useRef<HTMLElement>(null);

  useEffect(() => {
    const watch = new Watch(calls, () => draw(undefined as never));
    setWatch(watch);
    return () => watch.stop();
  }, [calls]);
  useEffect(() => {
    const follow = () => setSection(sectionInAddress());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);

  useEffect(() => {
    // On a phone not all of them fit.
    nav.current!.querySelector("[aria-current]")!.scrollIntoView({ inline: "center", block: "nearest" });
  }, [section]);

  const skip = (event: Event) => {
    // By hand: the part of the address behind # names a section.
    event.preventDefault();
    main.current!.focus();
  };
  const once = (event: MouseEvent) => {
    // The second half of a double click falls on what came under the pointer meanwhile: the
    // next row, or the yes to a question that nobody has read.
    if (event.detail > 1 && (event.target as Element).closest("button")) {
      event.preventDefault();
      event.stopPropagation();
    }
  };
  return (
    <div class="admin" onClickCapture={once}>
      <a class="skip" href="#main" onClick={skip}>{words.skip}</a>
      <div class="top">
        <header>
          <h1>imserver <span>{words.title}</span></h1>
          <nav ref={nav} aria-label={words.sections}>
            {SECTIONS.map((one) => (
              <a key={one} href={`#/${one}`} aria-current={one === section ? "page" : undefined}>
                {words[one]}
                {one === "tokens" && one !== section && work.made && <span class="news">{words.oneNew}</span>}
              </a>
            ))}
          </nav>
          <p class="quiet">{words.as(about.userId, span(Math.max((about.endsAt - Date.now()) / 1000, 1)))}</p>
          <button type="button" class="plain" onClick={signOut}>{words.signOut}</button>
        </header>
        <div class={watch?.fault ? "banner offline" : "banner none"} role="status">{watch?.fault && words.away(watch.fault)}</div>
      </div>
      <main ref={main} id="main" tabIndex={-1}>
        <h2>{words[section]}</h2>
        {section === "overview" && watch && <Overview watch={watch} />}
        {section === "connections" && <Connections calls={calls} />}
        {section === "revocations" && <Revocations calls={calls} />}
        {/* These stay: what is being written, sent or issued outlives a look at another section. */}
        <Tokens calls={calls} shown={section === "tokens"} made={work.made} change={change} />
        <div hidden={section !== "notify"}><Notify calls={calls} work={work} change={change} /></div>
      </main>
      <Questions />
    </div>
  );
}

function sectionInAddress(): Section {
  return SECTIONS.find((one) => location.hash === `#/${one}`) ?? "overview";
}
