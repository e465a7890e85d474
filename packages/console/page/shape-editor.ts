import type { Point, ShapeKind } from '@video-pipeline/scene';
import type { ScenePreview, StreamScene } from '../src/api.ts';
import { lineWidth } from './boxes.ts';
import { inside, isNear, pointOf } from './canvas-point.ts';
import { h, sendJson, setText, whileDisabled } from './dom.ts';
import { eventItem } from './events-panel.ts';
import { dateTime } from './format.ts';
import { pathOf, pathOfLine, strokeTwice, ZONE_COLOUR } from './scene-overlay.ts';
import { KINDS, type KnownSettings, shapeForm } from './shape-form.ts';

const STEP = 0.01;
const LONG_STEP = 0.05;
const MOVES: Record<string, Point> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/**
 * Lets a person draw a zone or a line on the picture and save it.
 * @param path of the stream, in the server's API
 * @param changed called when the picture must be drawn again
 * @param saved receives the server's scene after a change was saved
 */
export function shapeEditor(options: {
  path: string;
  canvas: HTMLCanvasElement;
  changed: () => void;
  saved: (scene: StreamScene) => void;
}) {
  const { path, canvas, changed, saved } = options;
  let kind: ShapeKind = 'zone';
  let points: Point[] = [];
  let cursor: Point = [0.5, 0.5];
  let dragged = -1;
  let editing: AbortController | undefined;
  let opener: HTMLElement | undefined;

  const form = shapeForm();
  const found = h('ul.events', { ariaLabel: 'Events that it would have given' });
  const element = h('div', form.element, form.status, found);
  form.preview.onclick = () => whileDisabled(form.preview, form.status, preview);
  form.undo.onclick = () => change(() => points.pop());
  form.cancel.onclick = end;
  form.element.onsubmit = (event) => {
    event.preventDefault();
    whileDisabled(form.save, form.status, save);
  };

  /** @param by element that gets the focus back at the end, @param known its current settings */
  function start(
    what: ShapeKind,
    name: string,
    begunWith: readonly Point[],
    by: HTMLElement,
    known?: KnownSettings,
  ): void {
    end();
    kind = what;
    points = [...begunWith];
    cursor = [0.5, 0.5];
    opener = by;
    form.open(kind, name, known);
    editing = new AbortController();
    const { signal } = editing;
    canvas.role = 'application';
    canvas.ariaRoleDescription = 'drawing';
    canvas.tabIndex = 0;
    canvas.classList.add('editing');
    canvas.addEventListener('pointerdown', press, { signal });
    canvas.addEventListener('pointermove', drag, { signal });
    canvas.addEventListener('pointerup', () => (dragged = -1), { signal });
    canvas.addEventListener('keydown', key, { signal });
    canvas.focus();
    change(() => {});
  }
  function end(): void {
    if (!editing) return;
    editing.abort();
    editing = undefined;
    canvas.role = 'img';
    canvas.ariaRoleDescription = null;
    canvas.removeAttribute('tabindex');
    canvas.classList.remove('editing');
    form.element.hidden = true;
    setText(form.status, '');
    found.replaceChildren();
    opener?.focus();
    changed();
  }
  function change(edit: () => void): void {
    edit();
    form.showPoints(points.length, cursor);
    changed();
  }
  /** If there are as many points as allowed, the last one is replaced. @returns the index of the point */
  function add(point: Point): number {
    if (points.length === KINDS[kind].maxPoints) points.pop();
    return points.push(point) - 1;
  }

  function press(event: PointerEvent): void {
    const point = pointOf(canvas, event);
    if (!point) return;
    const near = points.findIndex((corner) => isNear(canvas, corner, event));
    canvas.setPointerCapture(event.pointerId);
    change(() => {
      dragged = near >= 0 ? near : add(point);
      cursor = points[dragged] ?? cursor;
    });
  }
  function drag(event: PointerEvent): void {
    const point = dragged >= 0 ? pointOf(canvas, event) : undefined;
    if (point) change(() => (points[dragged] = cursor = point));
  }
  function key(event: KeyboardEvent): void {
    const move = MOVES[event.key];
    if (move) {
      const step = event.shiftKey ? LONG_STEP : STEP;
      change(() => (cursor = inside([cursor[0] + move[0] * step, cursor[1] + move[1] * step])));
    } else if (event.key === 'Enter' || event.key === ' ') change(() => add(cursor));
    else if (event.key === 'Backspace') change(() => points.pop());
    else if (event.key === 'Escape') end();
    else return;
    event.preventDefault();
    // Elsewhere on this page, the arrow keys step through frames.
    event.stopPropagation();
  }

  async function save(): Promise<void> {
    const draft = form.draft(kind, points);
    saved(await sendJson<StreamScene>('POST', `${path}/${kind}s`, draft));
    const { title } = KINDS[kind];
    end();
    setText(form.status, `${title} ${draft.name} is saved.`);
  }

  async function preview(): Promise<void> {
    const { signal } = editing ?? {};
    found.replaceChildren();
    setText(form.status, 'Trying it on the detections of the last 24 hours');
    const draft = form.draft(kind, points);
    const answer = await sendJson<ScenePreview>('POST', `${path}/${kind}s/preview`, draft).catch((error) => {
      if (!signal?.aborted) throw error;
    });
    if (!answer || signal?.aborted) return;
    setText(form.status, previewText(answer));
    found.replaceChildren(...answer.events.map(eventItem));
  }

  /** @param feet bottom centres of the boxes on the picture, relative to it */
  function draw(context: CanvasRenderingContext2D, feet: readonly Point[]): void {
    if (!editing) return;
    const { width, height } = context.canvas;
    if (kind === 'zone') for (const foot of feet) drawFoot(context, foot);
    const [from, to] = points;
    const shape =
      kind === 'line' && from && to
        ? pathOfLine(context, from, to)
        : pathOf(context, [points], points.length > 2);
    strokeTwice(context, shape, '#fff');
    const size = lineWidth(context) * 3;
    context.fillStyle = ZONE_COLOUR;
    for (const [x, y] of points) context.fillRect(x * width - size, y * height - size, size * 2, size * 2);
    strokeTwice(context, crossAt(context, cursor, size * 3), '#fff');
  }
  return { element, start, draw, end };
}

function previewText({ count, events, frames, until, to }: ScenePreview): string {
  if (frames === 0) return 'Nothing of this stream was stored in the last 24 hours.';
  const times = count === 1 ? 'once' : `${count} times`;
  const span = until < to ? `the 24 hours as far as ${dateTime(until)}` : 'the last 24 hours';
  const shown = events.length < count ? `; the newest ${events.length} are shown` : '';
  return `In ${span} this would have fired ${times}${shown}.`;
}

function drawFoot(context: CanvasRenderingContext2D, [x, y]: Point): void {
  const { width, height } = context.canvas;
  const dot = new Path2D();
  dot.arc(x * width, y * height, lineWidth(context) * 2, 0, 2 * Math.PI);
  strokeTwice(context, dot, '#fff');
}

/** @param reach length of each arm, canvas pixels */
function crossAt(context: CanvasRenderingContext2D, [x, y]: Point, reach: number): Path2D {
  const [dx, dy] = [reach / context.canvas.width, reach / context.canvas.height];
  const arm = (dx: number, dy: number): Point[] => [
    [x - dx, y - dy],
    [x + dx, y + dy],
  ];
  return pathOf(context, [arm(dx, 0), arm(0, dy)], false);
}
