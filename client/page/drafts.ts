// What was typed and not sent, for each conversation of each user of this tab.

const prefix = (userId: number) => `imserver.draft.${userId}.`;

export function draft(userId: number, peerId: number): string {
  return sessionStorage.getItem(prefix(userId) + peerId) ?? "";
}

export function keepDraft(userId: number, peerId: number, text: string): void {
  const key = prefix(userId) + peerId;
  try {
    if (text.trim() === "") sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, text);
  } catch {
    // No room for more: it stays in the field alone.
  }
}

export function forgetDrafts(userId: number): void {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith(prefix(userId))) sessionStorage.removeItem(key);
  }
}
