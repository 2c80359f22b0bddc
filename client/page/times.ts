// When a message was written, and how that is said.

import type { Message } from "imserver-client";
import { locale, words } from "./words";

const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
const thisYear = new Intl.DateTimeFormat(locale, { weekday: "long", month: "long", day: "numeric" });
const anyYear = new Intl.DateTimeFormat(locale, { year: "numeric", month: "long", day: "numeric" });
const shortDay = new Intl.DateTimeFormat(locale, { month: "short", day: "numeric" });
const shortDate = new Intl.DateTimeFormat(locale, { dateStyle: "short" });

const DAY = 24 * 60 * 60 * 1000;
const EARLIEST = Date.UTC(2015, 0);

/**
 * When a message was stored, in milliseconds.
 *
 * A live message does not say. It may have waited for us for hours, so that the sender's
 * own mark is better than now, where it can be read as seconds or milliseconds at all.
 */
export function timeOf(message: Message): number {
  if (message.storedAt !== undefined) return message.storedAt;
  const mark = Number(message.timestamp);
  for (const time of [mark * 1000, mark]) {
    if (time > EARLIEST && time < Date.now() + 60_000) return time;
  }
  return Date.now();
}

/** Milliseconds until days are called otherwise. */
export function untilMidnight(): number {
  return new Date().setHours(24, 0, 0, 0) - Date.now();
}

export function clockTime(time: number): string {
  return clock.format(time);
}

/** A number for each day in the browser's time zone. */
export function dayOf(time: number): number {
  return new Date(time).setHours(0, 0, 0, 0);
}

export function dayName(time: number): string {
  // Days have 23 to 25 hours: round.
  const ago = Math.round((dayOf(Date.now()) - dayOf(time)) / DAY);
  if (ago === 0) return words.today;
  if (ago === 1) return words.yesterday;
  return (isThisYear(time) ? thisYear : anyYear).format(time);
}

/** As short as a list wants it: the time today, else the day. */
export function brief(time: number): string {
  if (dayOf(time) === dayOf(Date.now())) return clock.format(time);
  return (isThisYear(time) ? shortDay : shortDate).format(time);
}

function isThisYear(time: number): boolean {
  return new Date(time).getFullYear() === new Date().getFullYear();
}
