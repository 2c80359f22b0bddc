// Telling somebody who looks elsewhere: the tab's title, and the system's notifications.

import type { Sight } from "./sight";

/** The number of unread messages, in the tab. */
export function showInTitle(unread: number): void {
  document.title = unread > 0 ? `(${unread}) imserver` : "imserver";
}

/** Whether asking would do anything: it has neither been allowed nor denied. */
export function canAsk(): boolean {
  return "Notification" in window && Notification.permission === "default";
}

/** Asks; to be called on a click only. */
export async function ask(): Promise<void> {
  await Notification.requestPermission();
}

/** Those that may still be on the screen, by tag. */
const onScreen = new Map<string, Notification>();

/** Shows a notification, where that is allowed and nobody looks at the page in any tab. */
export async function notify(sight: Sight, title: string, body: string, tag: string, opened: () => void): Promise<void> {
  if (!("Notification" in window) || Notification.permission !== "granted" || await sight.isAnywhere()) return;
  try {
    // One a conversation: several tabs show the same one, and a newer replaces it.
    const shown = new Notification(title, { body, tag, icon: "/icon.svg", dir: "auto" });
    onScreen.set(tag, shown);
    shown.onclick = () => {
      window.focus();
      opened();
      shown.close();
    };
  } catch {
    // Phones want a service worker for it, which this page has none of.
  }
}

/** Takes those away whose tag `isOver`. */
export function takeBack(isOver: (tag: string) => boolean): void {
  for (const [tag, shown] of onScreen) {
    if (!isOver(tag)) continue;
    shown.close();
    onScreen.delete(tag);
  }
}
