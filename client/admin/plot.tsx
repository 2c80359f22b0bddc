// A plot of the last minutes: what all of them have in common.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { clockTime } from "./figures";
import { WINDOW_MS } from "./watch";
import { words } from "./words";

const HEIGHT = 176;
const TOP = 8;
const BOTTOM = 20;
const MINUTE_MS = 60_000;

/** Where a moment and an amount lie in the picture. */
export interface Scale {
  x(at: number): number;
  y(amount: number): number;
  left: number;
  right: number;
}

export interface Mark {
  name: string;
  value: string;
  /** Which of the colours. */
  tone: number;
}

interface Props {
  title: string;
  /** All of it in a sentence. */
  summary: string;
  legend: Mark[];
  /** What the reader points at, in place of now. */
  pointed: number | null;
  point(at: number | null): void;
  now: number;
  end: number;
  format(amount: number): string;
  draw(scale: Scale): ComponentChildren;
  /** The same in rows, the newest first. */
  rows(): [at: number, ...cells: string[]][];
}

export function Plot({ title, summary, legend, pointed, point, now, end, format, draw, rows }: Props) {
  const id = useId();
  const [open, setOpen] = useState(false);
  const frame = useRef<HTMLDivElement>(null);
  const width = useWidth(frame);
  const ticks = [0, end / 2, end].filter((tick, n) => n !== 1 || format(tick) !== format(end));
  const left = 10 + 6.4 * Math.max(...ticks.map((tick) => format(tick).length));
  const right = width - 6;
  const scale: Scale = {
    left, right,
    x: (at) => right - (now - at) / WINDOW_MS * (right - left),
    y: (amount) => HEIGHT - BOTTOM - Math.min(amount / end, 1) * (HEIGHT - BOTTOM - TOP),
  };
  const moved = (event: PointerEvent) => {
    const { left: start } = frame.current!.getBoundingClientRect();
    const share = (right - (event.clientX - start)) / (right - left);
    point(share < 0 || share > 1 ? null : now - share * WINDOW_MS);
  };
  const minutes = width < 420 ? [0, 2, 4] : [0, 1, 2, 3, 4];
  return (
    <figure class="card plot">
      <figcaption>
        <h3>{title}</h3>
        <ul class="legend">
          {legend.map(({ name, value, tone }) => (
            <li key={name}><i class={`swatch tone-${tone}`} />{name} <b>{value}</b></li>
          ))}
        </ul>
      </figcaption>
      <div ref={frame} class="frame" onPointerMove={moved} onPointerLeave={() => point(null)}>
        <svg width={width} height={HEIGHT} role="img" aria-labelledby={`${id}-t ${id}-d`}>
          <title id={`${id}-t`}>{title}</title>
          <desc id={`${id}-d`}>{summary}</desc>
          {ticks.map((tick) => (
            <g key={tick}>
              <path class="rule" d={`M${left} ${Math.round(scale.y(tick)) + 0.5}H${right}`} />
              <text x={left - 6} y={scale.y(tick) + 4} text-anchor="end">{format(tick)}</text>
            </g>
          ))}
          {minutes.map((minute) => (
            <text key={minute} x={scale.x(now - minute * MINUTE_MS)} y={HEIGHT - 4} text-anchor={minute === 0 ? "end" : "middle"}>
              {minute === 0 ? words.now : words.minutesAgo(minute)}
            </text>
          ))}
          {draw(scale)}
          {pointed !== null && <path class="pointer" d={`M${scale.x(pointed)} ${TOP}V${HEIGHT - BOTTOM}`} />}
        </svg>
      </div>
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>{pointed === null ? words.asTable : words.at(clockTime(pointed))}</summary>
        {open && (
          <div class="rows" role="region" tabIndex={0} aria-label={title}>
            <table>
              <thead><tr><th>{words.time}</th>{legend.map(({ name }) => <th key={name}>{name}</th>)}</tr></thead>
              <tbody>
                {rows().map(([at, ...cells]) => (
                  <tr key={at}><th>{clockTime(at)}</th>{cells.map((cell, n) => <td key={n}>{cell}</td>)}</tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </details>
    </figure>
  );
}

function useWidth(frame: { current: HTMLElement | null }): number {
  const [width, setWidth] = useState(320);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    observer.observe(frame.current!);
    return () => observer.disconnect();
  }, []);
  return width;
}
