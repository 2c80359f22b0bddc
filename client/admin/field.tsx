// A field with its name, and what is to be said about it.

import { cloneElement } from "preact";
import type { VNode } from "preact";
import { useId } from "preact/hooks";

interface Props {
  name: string;
  hint?: string;
  /** What one writes into, or chooses from. */
  children: VNode;
}

export function Field({ name, hint, children }: Props) {
  const id = useId();
  return (
    <div class="field">
      <label><span>{name}</span>{hint ? cloneElement(children, { "aria-describedby": id }) : children}</label>
      {hint && <span id={id} class="quiet">{hint}</span>}
    </div>
  );
}

/** What stands in a form's field, without the blanks around it. */
export function text(form: HTMLFormElement, name: string): string {
  return String(new FormData(form).get(name) ?? "").trim();
}

/** Empties a form's field that still holds what was `typed`: another may have been begun. */
export function clear(form: HTMLFormElement, name: string, typed: string): void {
  if (text(form, name) === typed) form.querySelector<HTMLInputElement>(`[name=${name}]`)!.value = "";
}
