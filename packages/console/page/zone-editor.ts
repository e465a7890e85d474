import type { Point } from '@video-pipeline/scene';
import type { StreamScene, ZoneDraft } from '../src/api.ts';
import { inside, isNear, pointOf } from './canvas-point.ts';
import { getJson, h, setText } from './dom.ts';
import { lineWidth, pathOf, strokeTwice, ZONE_COLOUR } from './scene-overlay.ts';

const STEP = 0.01;
const LONG_STEP = 0.05;
const HELP =
  'Click the corners on the picture, drag one to move it. Or with the keyboard: arrow keys move the cross ' +
  '(Shift: far), Enter sets a corner, Backspace takes the last one back, Escape ends.';
const MOVES: Record<string, Point> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/**
 * Lets one draw a zone on the picture and save it.
 * @param scene what the stream has now
 * @param changed called when the picture must be drawn again
 * @param saved takes the scene that the server has after a zone was saved
 */
export function zoneEditor(options: {
  streamId: string;
  canvas: HTMLCanvasElement;
  scene: () => StreamScene;
  changed: () => void;
  saved: (scene: StreamScene) => void;
}): { element: HTMLElement; draw: (context: CanvasRenderingContext2D) => void; end: () => void } {
  const { streamId, canvas, scene, changed, saved } = options;
  let corners: Point[] = [];
  let cursor: Point = [0.5, 0.5];
  let dragged = -1;
  let editing: AbortController | undefined;

  const form = zoneForm();
  const begin = h('button', { type: 'button' }, 'Draw a zone');
  const element = h('div', {}, begin, form.element, form.status);
  begin.onclick = start;
  form.undo.onclick = () => change(() => corners.pop());
  form.cancel.onclick = end;
  // Of a zone that is there already, the corners are where one begins.
  form.name.onchange = () => {
    const known = scene().zones[form.name.value];
    if (known && corners.length === 0) change(() => corners.push(...known.polygon));
  };
  form.element.onsubmit = (event) => {
    event.preventDefault();
    save();
  };

  function start(): void {
    corners = [];
    cursor = [0.5, 0.5];
    begin.hidden = true;
    form.open(Object.keys(scene().zones));
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
    begin.hidden = false;
    form.element.hidden = true;
    setText(form.status, '');
    begin.focus();
    changed();
  }
  function change(edit: () => void): void {
    edit();
    form.tell(corners.length, cursor);
    changed();
  }

  function press(event: PointerEvent): void {
    const point = pointOf(canvas, event);
    if (!point) return;
    const near = corners.findIndex((corner) => isNear(canvas, corner, event));
    canvas.setPointerCapture(event.pointerId);
    change(() => {
      dragged = near >= 0 ? near : corners.push(point) - 1;
      cursor = corners[dragged] ?? cursor;
    });
  }
  function drag(event: PointerEvent): void {
    const point = dragged >= 0 ? pointOf(canvas, event) : undefined;
    if (point) change(() => (corners[dragged] = cursor = point));
  }
  function key(event: KeyboardEvent): void {
    const move = MOVES[event.key];
    if (move) {
      const step = event.shiftKey ? LONG_STEP : STEP;
      change(() => (cursor = inside([cursor[0] + move[0] * step, cursor[1] + move[1] * step])));
    } else if (event.key === 'Enter' || event.key === ' ') change(() => corners.push(cursor));
    else if (event.key === 'Backspace') change(() => corners.pop());
    else if (event.key === 'Escape') end();
    else return;
    event.preventDefault();
    // The arrow keys mean frames elsewhere on this page.
    event.stopPropagation();
  }

  async function save(): Promise<void> {
    const draft: ZoneDraft = { name: form.name.value, polygon: corners, events: form.events.checked };
    form.save.disabled = true;
    try {
      const now = await getJson<StreamScene>(`/api/streams/${encodeURIComponent(streamId)}/zones`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(draft),
      });
      saved(now);
      end();
      setText(form.status, `Zone ${draft.name} is saved.`);
    } catch (error) {
      setText(form.status, (error as Error).message);
    }
    form.save.disabled = false;
  }

  function draw(context: CanvasRenderingContext2D): void {
    if (!editing) return;
    const { width, height } = context.canvas;
    strokeTwice(context, pathOf(context, [corners], corners.length > 2), '#fff');
    const size = lineWidth(context) * 3;
    context.fillStyle = ZONE_COLOUR;
    for (const [x, y] of corners) context.fillRect(x * width - size, y * height - size, size * 2, size * 2);
    const [x, y] = cursor;
    const reach = size * 3;
    const cross = pathOf(
      context,
      [
        [
          [x - reach / width, y],
          [x + reach / width, y],
        ],
        [
          [x, y - reach / height],
          [x, y + reach / height],
        ],
      ],
      false,
    );
    strokeTwice(context, cross, '#fff');
  }
  return { element, draw, end };
}

function zoneForm() {
  const name = h('input', { required: true, pattern: '[A-Za-z0-9][A-Za-z0-9._\\-]*', maxLength: 64 });
  const events = h('input', { type: 'checkbox', checked: true });
  const undo = h('button', { type: 'button' }, 'Take corner back');
  const save = h('button', { type: 'submit' }, 'Save zone');
  const cancel = h('button', { type: 'button' }, 'Cancel');
  const status = h('p', { role: 'status' });
  const element = h(
    'form',
    { hidden: true, ariaLabel: 'Zone' },
    h('p', { className: 'dim' }, HELP),
    h('label', {}, 'Name of the zone ', name),
    h('label', {}, events, ' Events when something enters or leaves'),
    h('div', { className: 'bar' }, save, undo, cancel),
  );
  return {
    element,
    name,
    events,
    undo,
    save,
    cancel,
    status,
    open(taken: string[]) {
      let number = 1;
      while (taken.includes(`zone-${number}`)) number += 1;
      name.value = `zone-${number}`;
      element.hidden = false;
    },
    tell(count: number, [x, y]: Point) {
      undo.disabled = count === 0;
      const place = `${Math.round(x * 100)} % from the left, ${Math.round(y * 100)} % from the top`;
      setText(status, `${count} ${count === 1 ? 'corner' : 'corners'}; the cross is ${place}.`);
    },
  };
}
