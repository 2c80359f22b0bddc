// How numbers, times and lengths of time are written.

import { locale } from "./words";

const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(locale, { maximumSignificantDigits: 3 });
const compact = new Intl.NumberFormat(locale, { notation: "compact", maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });
const date = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
const moment = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

export const count = (n: number) => whole.format(n);
export const rate = (n: number) => (n >= 10_000 ? compact : short).format(n);
export const clockTime = (at: number) => clock.format(at);
export const day = (at: string) => date.format(new Date(at));

/** A moment as the server writes it, or its number of milliseconds. */
export function when(at: string | number): string {
  const time = new Date(at);
  return Number.isNaN(time.getTime()) ? String(at) : moment.format(time);
}

/** Seconds as whatever unit suits them. */
export function latency(seconds: number): string {
  return seconds < 1 ? `${short.format(seconds * 1000)} ms` : `${short.format(seconds)} s`;
}

/** A length of time in its largest unit, and for days and hours the next one too. */
export function span(seconds: number): string {
  const units = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]] as const;
  const at = Math.max(units.findIndex(([, size]) => seconds >= size), 0);
  const shown = units.slice(at, at < 2 ? at + 2 : at + 1);
  return shown.flatMap(([unit, size], n) => {
    const many = Math.floor((n === 0 ? seconds : seconds % units[at]![1]) / size);
    return many === 0 && n > 0 ? [] : [new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "long" }).format(many)];
  }).join(" ");
}

/** The end of an axis that reaches `most`: a number that halves well. */
export function axisEnd(most: number): number {
  const size = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 4, 6, 8, 10].map((n) => n * size).find((end) => end >= most * 0.999) ?? most;
}
