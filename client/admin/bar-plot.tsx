// How often something happened, by reason, as bars of ten seconds.

import { useState } from "preact/hooks";
import { axisEnd, count } from "./figures";
import type { Counts } from "./counts";
import { Plot } from "./plot";
import { WINDOW_MS } from "./watch";
import type { Point } from "./watch";
import { words } from "./words";

const BAR_MS = 10_000;

/** Reasons with a colour of their own; the rest are one. */
const TONES = 6;

interface Props {
  title: string;
  points: Point[];
  now: number;
  of(point: Point): Counts;
}

export function BarPlot({ title, points, now, of }: Props) {
  const [pointed, point] = useState<number | null>(null);
  const seen = points.filter(({ at }) => at >= now - WINDOW_MS);
  const total: Counts = new Map();
  // By multiples of ten seconds, so that a bar stays what it is while it moves.
  const bars = new Map<number, Counts>();
  for (const one of seen) {
    const start = Math.floor(one.at / BAR_MS) * BAR_MS;
    const bar = bars.get(start) ?? new Map<string, number>();
    bars.set(start, bar);
    for (const [reason, many] of of(one)) {
      for (const counts of [bar, total]) counts.set(reason, (counts.get(reason) ?? 0) + many);
    }
  }
  const often = [...total].sort(([a, n], [b, m]) => m - n || a.localeCompare(b)).map(([reason]) => reason);
  const [named, rest] = [often.slice(0, TONES), often.slice(TONES)];
  const parts = named.map((reason) => ({ name: reason, of: (counts: Counts) => counts.get(reason) ?? 0 }));
  if (rest.length) parts.push({ name: words.others, of: (counts) => sum(rest.map((reason) => counts.get(reason) ?? 0)) });

  const most = Math.max(2, ...[...bars.values()].map((bar) => sum([...bar.values()])));
  const start = pointed === null ? null : Math.floor(pointed / BAR_MS) * BAR_MS;
  const shown = start === null ? total : bars.get(start) ?? new Map<string, number>();
  const legend = parts.map(({ name, of }, tone) => ({ name, tone, value: count(of(shown)) }));
  return (
    <Plot
      title={title} legend={legend} now={now} end={axisEnd(most)} format={count}
      summary={parts.length ? words.inAll(parts.map(({ name, of }) => `${name} ${count(of(total))}`).join(", ")) : words.none}
      pointed={start === null ? null : start + BAR_MS / 2} point={point}
      draw={({ x, y, left, right }) => {
        if (!parts.length) return <text class="nothing" x={(left + right) / 2} y={y(0) - 56} text-anchor="middle">{words.none}</text>;
        return [...bars].map(([at, bar]) => {
          const from = Math.max(x(at) + 1, left);
          const to = Math.min(x(at + BAR_MS) - 1, right);
          let below = 0;
          return parts.map(({ name, of }, tone) => {
            const many = of(bar);
            if (many === 0 || to <= from) return null;
            const [top, bottom] = [y(below += many), y(below - many)];
            return <rect key={`${at} ${name}`} class={`bar tone-${tone}`} x={from} width={to - from} y={top} height={bottom - top} />;
          });
        });
      }}
      rows={() => [...bars].reverse().map(([at, bar]) => [at, ...parts.map(({ of }) => count(of(bar)))])}
    />
  );
}

function sum(amounts: number[]): number {
  return amounts.reduce((all, one) => all + one, 0);
}
