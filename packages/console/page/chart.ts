import uPlot from 'uplot';
import type { Timeline } from '../src/api.ts';
import { classColour } from './boxes.ts';
import { h } from './dom.ts';
import { swatch } from './filter-panel.ts';
import { tickText } from './format.ts';

/** The size of a chart that fills the width of an element, pixels. */
const sizeIn = ({ clientWidth }: HTMLElement) => ({ width: Math.max(clientWidth, 160), height: 130 });
/** The text colour of the page's theme. */
const INK = () => getComputedStyle(document.body).color;
const GRID = 'rgb(128 128 128 / 0.25)';
const axis = (size: number): uPlot.Axis => ({
  stroke: INK,
  grid: { stroke: GRID },
  ticks: { stroke: GRID },
  size,
});
const TIME_AXIS: uPlot.Axis = {
  ...axis(28),
  space: 64,
  values: (_, times, _axis, _space, step) => times.map((time) => tickText(time * 1000, step)),
};

/**
 * A line of values over time, from zero up, with gaps for missing values. The values at the pointer are shown below it.
 * @param format a value as text, with its unit
 */
export function lineChart(element: HTMLElement, label: string, format: (value: number | null) => string) {
  const options: uPlot.Options = {
    ...sizeIn(element),
    scales: { y: { range: (_, _min, max) => [0, Math.max(max, 1) * 1.1] } },
    series: [
      { label: 'Time', value: '{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}' },
      { label, stroke: INK, width: 1.5, value: (_, value) => format(value) },
    ],
    axes: [TIME_AXIS, { ...axis(52), values: (_, values) => values.map(format) }],
    cursor: { y: false, drag: { x: false, y: false } },
  };
  const chart = new uPlot(options, [[], []], element);
  return {
    /** @param times epoch ms */
    set(times: readonly number[], values: readonly (number | null)[]): void {
      const size = sizeIn(element);
      if (size.width !== chart.width) chart.setSize(size);
      chart.setData([times.map((time) => time / 1000), [...values]]);
    },
    end: () => chart.destroy(),
  };
}

/** A pointer that moved no farther than this, pixels, has clicked. */
const CLICK_PX = 4;

/** Callbacks for the pointer; times in epoch ms. */
interface ChartPointer {
  select: (from: number, to: number) => void;
  hover?: (time: number) => void;
  pick?: (time: number) => void;
}

/** The charts of {@link drawTimeline}. uPlot keeps each chart, with its canvas, until it is destroyed. */
const timelines = new Set<uPlot>();

/** Detections by class over time, bins stacked. @param ids class name -> class id, for its colour */
export function drawTimeline(
  element: HTMLElement,
  timeline: Timeline,
  ids: ReadonlyMap<string, number>,
  pointer?: ChartPointer,
): void {
  const { from, bins, bin_ms, classes } = timeline;
  const names = Object.keys(classes).sort();
  const times = Array.from({ length: bins }, (_, i) => (from + i * bin_ms) / 1000);
  // Each bar covers the lower part of the bar behind it: the highest stack is drawn first.
  const sums = new Array<number>(bins).fill(0);
  const stacks = names.map((name) =>
    sums.map((_, i) => (sums[i] = (sums[i] ?? 0) + (classes[name]?.[i] ?? 0))),
  );
  const bars = uPlot.paths.bars?.({ size: [1, 100], align: 1 });
  const series = names.map((name): uPlot.Series => {
    const fill = classColour(ids.get(name) ?? 0);
    const value = (_: uPlot, _value: number, _series: number, i: number | null) =>
      i === null ? '-' : String(classes[name]?.[i] ?? 0);
    return {
      label: name,
      stroke: fill,
      fill,
      width: 0,
      points: { show: false },
      value,
      ...(bars ? { paths: bars } : {}),
    };
  });
  element.replaceChildren();
  const options: uPlot.Options = {
    ...sizeIn(element),
    // A bar begins at its time: without this range, the last bar would be beyond the chart.
    scales: {
      x: { range: [from / 1000, (from + bins * bin_ms) / 1000] },
      y: { range: (_, _min, max) => [0, Math.max(max, 1)] },
    },
    series: [{ label: 'Time', value: '{HH}:{mm}:{ss}' }, ...series.toReversed()],
    axes: [TIME_AXIS, axis(52)],
    cursor: { y: false, drag: { x: pointer !== undefined, y: false, setScale: false } },
    hooks: pointer ? hooksOf(pointer) : {},
  };
  for (const old of timelines) {
    if (old.root.isConnected) continue;
    old.destroy();
    timelines.delete(old);
  }
  timelines.add(new uPlot(options, [times, ...stacks.toReversed()], element));
}

export function sumOf(counts: readonly number[] = []): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Lists the classes with their colours and totals. @returns the list as text */
export function showTotals(
  element: HTMLElement,
  classes: Timeline['classes'],
  ids: ReadonlyMap<string, number>,
): string {
  const names = Object.keys(classes).sort();
  const totals = names.map((name) => `${name} ${sumOf(classes[name]).toLocaleString('en')}`);
  element.replaceChildren(...names.map((name, i) => h('span', swatch(ids.get(name) ?? 0), totals[i] ?? '')));
  return totals.join(', ') || 'none';
}

function hooksOf({ select, hover, pick }: ChartPointer): uPlot.Hooks.Arrays {
  const timeAt = (chart: uPlot, x: number) => Math.round(chart.posToVal(x, 'x') * 1000);
  return {
    ready: [
      (chart) => {
        chart.over.addEventListener('click', ({ offsetX }) => {
          if (chart.select.width <= CLICK_PX) pick?.(timeAt(chart, offsetX));
        });
      },
    ],
    setSelect: [
      (chart) => {
        const { left, width } = chart.select;
        if (width > CLICK_PX) select(timeAt(chart, left), timeAt(chart, left + width));
      },
    ],
    setCursor: [
      (chart) => {
        const { left = -1 } = chart.cursor;
        if (left >= 0) hover?.(timeAt(chart, left));
      },
    ],
  };
}
