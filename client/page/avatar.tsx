import { Icon } from "./icons";

/**
 * A circle with the first letter of a name.
 *
 * Never a picture: its address comes out of a sender's token, and loading it would show
 * each reader's address to whoever serves it.
 */
export function Avatar({ peerId, me, name }: { peerId: number; me: number; name: string }) {
  return (
    <span class={`avatar tint-${peerId % 8}`} aria-hidden="true">
      {peerId === 0 ? <Icon name="megaphone" /> : peerId === me ? <Icon name="note" /> : initial(name)}
    </span>
  );
}

/** The first letter as people count them, be it built of several characters. */
function initial(name: string): string {
  const number = /^\D*(\d+)$/.exec(name)?.[1];
  if (number !== undefined) return number.slice(-2);
  const characters = [...new Intl.Segmenter().segment(name.trim())].map((one) => one.segment);
  const first = characters.find((one) => /[\p{L}\p{N}]/u.test(one)) ?? characters[0] ?? "?";
  // A letter under a hundred accents is no initial.
  return first.slice(0, 12).toLocaleUpperCase();
}
