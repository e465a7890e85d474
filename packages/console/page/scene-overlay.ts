import type { Point } from '@video-pipeline/scene';
import type { FrameFacts, StreamScene } from '../src/api.ts';
import { type BoxFilter, lineWidth, setFont, trackColour, visible } from './boxes.ts';
import type { Trails } from './trails.ts';

/** Visible by day and night, together with the dark line under it. */
export const ZONE_COLOUR = 'rgb(0 229 255)';
const LINE_COLOUR = 'rgb(255 214 10)';
const HALO = 'rgb(0 0 0 / 0.6)';

export function drawScene(context: CanvasRenderingContext2D, { zones, lines }: StreamScene): void {
  for (const [name, { polygon, holes }] of Object.entries(zones)) {
    const path = pathOf(context, [polygon, ...holes], true);
    context.fillStyle = 'rgb(0 229 255 / 0.12)';
    context.fill(path, 'evenodd');
    strokeTwice(context, path, ZONE_COLOUR);
    const top = polygon.reduce((highest, point) => (point[1] < highest[1] ? point : highest));
    drawName(context, name, top, ZONE_COLOUR);
  }
  for (const [name, { from, to }] of Object.entries(lines)) {
    strokeTwice(context, pathOfLine(context, from, to), LINE_COLOUR);
    drawName(context, name, from, LINE_COLOUR);
  }
}

export function drawTrails(
  context: CanvasRenderingContext2D,
  trails: Trails,
  frame: FrameFacts,
  filter: BoxFilter,
): void {
  for (const { track_id } of visible(frame.detections, filter)) {
    if (track_id === undefined) continue;
    const way = trails.of(track_id, frame.captured_at);
    strokeTwice(context, pathOf(context, [way], false), trackColour(track_id));
  }
}

/** A path through points that are relative to the canvas. */
export function pathOf(
  { canvas }: CanvasRenderingContext2D,
  ways: readonly (readonly Point[])[],
  isClosed: boolean,
): Path2D {
  const path = new Path2D();
  for (const way of ways) {
    for (const [i, [x, y]] of way.entries()) {
      if (i === 0) path.moveTo(x * canvas.width, y * canvas.height);
      else path.lineTo(x * canvas.width, y * canvas.height);
    }
    if (isClosed) path.closePath();
  }
  return path;
}

/** A line with an arrow to its right-hand side. */
export function pathOfLine(context: CanvasRenderingContext2D, from: Point, to: Point): Path2D {
  const path = pathOf(context, [[from, to]], false);
  path.addPath(arrowOf(context, from, to));
  return path;
}

/** Strokes a path so that it is visible on any background. */
export function strokeTwice(context: CanvasRenderingContext2D, path: Path2D, colour: string): void {
  const wide = lineWidth(context);
  context.lineJoin = 'round';
  for (const [width, style] of [
    [wide * 2, HALO],
    [wide, colour],
  ] as const) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.stroke(path);
  }
}

/** An arrow from the middle of a line to the right of a person who walks along it. */
function arrowOf({ canvas }: CanvasRenderingContext2D, from: Point, to: Point): Path2D {
  const [dx, dy] = [(to[0] - from[0]) * canvas.width, (to[1] - from[1]) * canvas.height];
  const long = Math.min(canvas.width, canvas.height) / 20 / Math.hypot(dx, dy);
  const x = ((from[0] + to[0]) / 2) * canvas.width;
  const y = ((from[1] + to[1]) / 2) * canvas.height;
  const [ax, ay] = [-dy * long, dx * long];
  const path = new Path2D();
  path.moveTo(x, y);
  path.lineTo(x + ax, y + ay);
  path.moveTo(x + ax * 0.6 - ay * 0.3, y + ay * 0.6 + ax * 0.3);
  path.lineTo(x + ax, y + ay);
  path.lineTo(x + ax * 0.6 + ay * 0.3, y + ay * 0.6 - ax * 0.3);
  return path;
}

function drawName(context: CanvasRenderingContext2D, name: string, [x, y]: Point, colour: string): void {
  const { width, height } = context.canvas;
  const tall = setFont(context);
  context.textBaseline = 'top';
  const left = Math.min(x * width + tall / 2, width - context.measureText(name).width - tall / 2);
  const top = Math.min(y * height + tall / 2, height - tall * 1.5);
  context.lineWidth = 4;
  context.strokeStyle = HALO;
  context.strokeText(name, left, top);
  context.fillStyle = colour;
  context.fillText(name, left, top);
}
