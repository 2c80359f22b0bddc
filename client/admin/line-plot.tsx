// Amounts over time, as lines.

import { useState } from "preact/hooks";
import { axisEnd } from "./figures";
import { Plot } from "./plot";
import type { Scale } from "./plot";
import { WINDOW_MS } from "./watch";
import type { Point } from "./watch";
import { words } from "./words";

export interface Series {
  name: string;
  of(point: Point): number | null;
}

interface Props {
  title: string;
  points: Point[];
  now: number;
  series: Series[];
  /** What the axis reaches to at least. */
  least: number;
  format(amount: number): string;
}

/** Rows of the table: the first moment of each such stretch of the clock, so that a row stays what it is. */
const EVERY_MS = 10_000;

export function LinePlot({ title, points, now, series, least, format }: Props) {
  const [pointed, point] = useState<number | null>(null);
  const seen = points.filter(({ at }) => at >= now - WINDOW_MS);
  const most = Math.max(least, ...seen.flatMap((one) => series.map(({ of }) => of(one) ?? 0)));
  const chosen = pointed === null ? seen.at(-1) : nearest(seen, pointed);
  const say = (amount: number | null | undefined) => (amount == null ? "–" : format(amount));
  const marks = series.map(({ name, of }, tone) => ({ name, tone, value: say(chosen && of(chosen)) }));
  const summary = series.map(({ name, of }) => {
    const amounts = seen.map(of).filter((amount) => amount !== null);
    return words.nowAndMost(name, say(seen.length ? of(seen.at(-1)!) : null), say(amounts.length ? Math.max(...amounts) : null));
  }).join(" ");
  return (
    <Plot
      title={title} summary={summary} legend={marks} now={now} end={axisEnd(most)} format={format}
      pointed={pointed === null ? null : chosen?.at ?? null} point={point}
      draw={(scale) => series.map(({ name, of }, tone) => (
        <g key={name} class={`tone-${tone}`}>
          {tone === 0 && <path class="area" d={area(seen, of, scale)} />}
          <path class={tone === 0 ? "line" : "line dashed"} d={line(seen, of, scale)} />
        </g>
      ))}
      rows={() => firsts(points).filter(({ at }) => at >= now - WINDOW_MS).reverse()
        .map((one) => [one.at, ...series.map(({ of }) => say(of(one)))])}
    />
  );
}

/** Runs of points that go on from each other. */
function runs(points: Point[], of: Series["of"], { x, y, left }: Scale): [number, number][][] {
  const runs: [number, number][][] = [];
  let run: [number, number][] | null = null;
  for (const point of points) {
    const amount = of(point);
    if (amount === null) run = null;
    else {
      if (!run || !point.joined) runs.push(run = []);
      run.push([round(Math.max(x(point.at), left)), round(y(amount))]);
    }
  }
  return runs;
}

function firsts(points: Point[]): Point[] {
  const stretch = (point: Point | undefined) => point && Math.floor(point.at / EVERY_MS);
  return points.filter((point, n) => stretch(point) !== stretch(points[n - 1]));
}

function line(points: Point[], of: Series["of"], scale: Scale): string {
  // The stroke of no length is the dot of a point that stands alone.
  return runs(points, of, scale).map((run) => `M${run.join("L")}h0`).join("");
}

function area(points: Point[], of: Series["of"], scale: Scale): string {
  const floor = round(scale.y(0));
  return runs(points, of, scale)
    .map((run) => `M${run[0]![0]} ${floor}L${run.join("L")}V${floor}Z`).join("");
}

function round(n: number): number {
  return Math.round(n * 10) / 10;
}

function nearest(points: Point[], at: number): Point | undefined {
  const far = (point: Point) => Math.abs(point.at - at);
  return points.reduce<Point | undefined>((best, point) => (best && far(best) < far(point) ? best : point), undefined);
}
