import type { Timeline } from '../src/api.ts';
import { classColour } from './boxes.ts';

/** Prepares a canvas for drawing in CSS pixels, sharp on any screen. */
function surface(
  canvas: HTMLCanvasElement,
): { context: CanvasRenderingContext2D; w: number; h: number } | undefined {
  const { clientWidth: w, clientHeight: h } = canvas;
  const context = canvas.getContext('2d');
  if (!context || w === 0) return undefined;
  canvas.width = Math.round(w * devicePixelRatio);
  canvas.height = Math.round(h * devicePixelRatio);
  context.scale(devicePixelRatio, devicePixelRatio);
  return { context, w, h };
}

/** A line of values over time, from zero to their largest; gaps where there is none. */
export function sparkline(
  canvas: HTMLCanvasElement,
  values: readonly (number | null)[],
  colour: string,
): void {
  const drawn = surface(canvas);
  if (!drawn) return;
  const { context, w, h } = drawn;
  const top = Math.max(1e-9, ...values.map((value) => value ?? 0));
  const step = w / Math.max(1, values.length - 1);
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.lineJoin = 'round';
  context.beginPath();
  let isDown = false;
  for (const [i, value] of values.entries()) {
    if (value === null) {
      isDown = false;
      continue;
    }
    const y = h - 2 - (value / top) * (h - 4);
    if (isDown) context.lineTo(i * step, y);
    else context.moveTo(i * step, y);
    isDown = true;
  }
  context.stroke();
}

/** Detections by class over time, bins stacked. @param ids class name -> class id, for its colour */
export function drawTimeline(
  canvas: HTMLCanvasElement,
  { bins, classes }: Timeline,
  ids: ReadonlyMap<string, number>,
  gridColour: string,
): void {
  const drawn = surface(canvas);
  if (!drawn) return;
  const { context, w, h } = drawn;
  const names = Object.keys(classes).sort();
  const totals = Array.from({ length: bins }, (_, i) =>
    names.reduce((sum, name) => sum + (classes[name]?.[i] ?? 0), 0),
  );
  const top = Math.max(1, ...totals);
  const filled = new Array<number>(bins).fill(0);
  const wide = w / bins;
  for (const name of names) {
    context.fillStyle = classColour(ids.get(name) ?? 0);
    for (let i = 0; i < bins; i++) {
      const tall = ((classes[name]?.[i] ?? 0) / top) * (h - 2);
      filled[i] = (filled[i] ?? 0) + tall;
      if (tall > 0) context.fillRect(i * wide, h - (filled[i] ?? 0), Math.max(1, wide - 1), tall);
    }
  }
  context.fillStyle = gridColour;
  context.fillRect(0, h - 1, w, 1);
}
