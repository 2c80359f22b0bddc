// Whose rows a list shows: one user's, or everybody's.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { userNumber } from "./act";
import { Field, text } from "./field";
import { words } from "./words";

interface Props {
  /** Called with the user's number; null: everybody. */
  choose(user: number | null): void;
  /** What else stands in the line. */
  children: ComponentChildren;
}

export function OfUser({ choose, children }: Props) {
  const [wrong, setWrong] = useState(false);
  const filter = (event: SubmitEvent) => {
    event.preventDefault();
    const typed = text(event.target as HTMLFormElement, "user");
    const number = typed === "" ? null : userNumber(typed);
    const isWrong = typed !== "" && number === null;
    setWrong(isWrong);
    if (!isWrong) choose(number);
  };
  return (
    <>
      <form class="row" onSubmit={filter} noValidate>
        <Field name={words.ofUser}><input name="user" inputMode="numeric" aria-invalid={wrong} placeholder={words.everybody} /></Field>
        <button class="plain">{words.show}</button>
        {children}
      </form>
      {wrong && <p class="wrong" role="alert">{words.noUser}</p>}
    </>
  );
}
