/**
 * The loss curve on uPlot: held-out loss, the lanes' training loss, and lines for the two entropies, named where they are drawn.
 *
 * Colours are read from the page's tokens when drawing, so light and dark need one redraw. Numbers only; the words are the component's.
 */
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

import { count } from './format.ts';
import { type CurvePoint, lossRange, roundTicks } from './loss-scale.ts';

export interface LossPlot {
  show(points: readonly CurvePoint[], unigramEntropy: number, sourceEntropy: number | null): void;
  destroy(): void;
}

interface Level {
  value: number;
  name: string;
  token: string;
  dash: number[];
}

const token = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const fontOf = (sizePx: number) => `${sizePx * devicePixelRatio}px ${token('--sans')}`;

/** Training loss, thin; held-out loss, strong. */
function series(): uPlot.Series[] {
  return [
    {},
    {
      stroke: () => token('--strong-line'),
      width: 1.25,
      points: { show: false },
    },
    {
      stroke: () => token('--lagoon'),
      width: 2.75,
      points: { show: (u) => u.data[0].length < 40, size: 6, fill: () => token('--lagoon') },
    },
  ];
}

export function createLossPlot(box: HTMLElement, onPoint: (index: number | null) => void): LossPlot {
  let levels: Level[] = [];
  let shown: number[] = [0];
  const size = () => ({ width: box.clientWidth, height: box.clientHeight });
  const plot = new uPlot(
    {
      ...size(),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 9 } },
      padding: [12, 8, 0, 0],
      scales: {
        x: { time: false, range: (_, min, max) => (max > min ? [min, max] : [min - 1, max + 1]) },
        y: { range: () => lossRange(shown) },
      },
      axes: [
        axis({
          size: 32,
          splits: ticksOf,
          values: (_, splits) => splits.map((each) => (each === 0 ? 'start' : count(each))),
        }),
        axis({ size: 46 }),
      ],
      series: series(),
      hooks: {
        draw: [(u) => levels.forEach((level) => drawLevel(u, level))],
        setCursor: [(u) => onPoint(u.cursor.idx ?? null)],
      },
    },
    [[], [], []],
    box,
  );

  const resized = new ResizeObserver(() => plot.setSize(size()));
  resized.observe(box);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const redraw = () => plot.redraw(false, true);
  dark.addEventListener('change', redraw);

  return {
    show(points, unigramEntropy, sourceEntropy) {
      levels = [{ value: unigramEntropy, name: 'unigram entropy', token: '--muted', dash: [7, 5] }];
      if (sourceEntropy !== null) {
        levels.push({ value: sourceEntropy, name: 'true entropy', token: '--coral', dash: [2, 4] });
      }
      shown = [
        ...levels.map((level) => level.value),
        ...points.flatMap(({ loss, trainLoss }) => (trainLoss === null ? [loss] : [loss, trainLoss])),
      ];
      plot.setData([
        points.map((each) => each.round),
        points.map((each) => each.trainLoss),
        points.map((each) => each.loss),
      ]);
    },
    destroy() {
      resized.disconnect();
      dark.removeEventListener('change', redraw);
      plot.destroy();
    },
  };
}

function ticksOf(u: uPlot): number[] {
  return roundTicks(u.scales['x']?.min ?? 0, u.scales['x']?.max ?? 1, Math.max(3, u.width / 90));
}

function axis(own: Partial<uPlot.Axis>): uPlot.Axis {
  return {
    stroke: () => token('--muted'),
    font: `13px ${token('--sans')}`,
    grid: { stroke: () => token('--line'), width: 1 },
    ticks: { show: false },
    ...own,
  };
}

/** A line across the plot with its name at the right end, on a halo where the curve passes behind it. */
function drawLevel(u: uPlot, level: Level): void {
  const { ctx, bbox } = u;
  const y = Math.round(u.valToPos(level.value, 'y', true));
  // On the side of the line where the curve's end is not.
  const above = (u.data[2]?.at(-1) ?? 0) < level.value;
  ctx.save();
  ctx.strokeStyle = token(level.token);
  ctx.lineWidth = 1.75 * devicePixelRatio;
  ctx.setLineDash(level.dash.map((length) => length * devicePixelRatio));
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.font = fontOf(13);
  ctx.textAlign = 'right';
  ctx.textBaseline = above ? 'bottom' : 'top';
  ctx.lineWidth = 4 * devicePixelRatio;
  ctx.lineJoin = 'round';
  ctx.strokeStyle = token('--paper');
  const place = [bbox.left + bbox.width - 2, y + (above ? -5 : 6) * devicePixelRatio] as const;
  ctx.strokeText(level.name, ...place);
  ctx.fillStyle = token(level.token);
  ctx.fillText(level.name, ...place);
  ctx.restore();
}
