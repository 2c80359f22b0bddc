// Which conversation the address names: `/#/2` is the one with user 2.
//
// The browser's own Back closes a conversation, which on a phone is what one expects.

/** The peer in the address; null: the list alone. */
export function peerInAddress(): number | null {
  const digits = /^#\/(\d{1,16})$/.exec(location.hash)?.[1];
  const peerId = Number(digits ?? NaN);
  return Number.isSafeInteger(peerId) ? peerId : null;
}

/** Names `peerId` in the address; from one conversation to the next, Back still leads to the list. */
export function enter(peerId: number): void {
  const address = `#/${peerId}`;
  if (peerInAddress() === null) history.pushState({ entered: true }, "", address);
  else history.replaceState(history.state, "", address);
}

/** Goes back to the list. */
export function leave(): void {
  if ((history.state as { entered?: boolean } | null)?.entered) history.back();
  else history.replaceState(null, "", location.pathname);
}

/** Forgets which conversation it was. */
export function reset(): void {
  history.replaceState(null, "", location.pathname);
}
