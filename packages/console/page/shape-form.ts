import type { Point, ShapeKind } from '@video-pipeline/scene';
import type { ShapeDraft } from '../src/api.ts';
import { h, setText } from './dom.ts';

/** What can be drawn on a picture, in words; how many points it has. */
export const KINDS = {
  zone: {
    title: 'Zone',
    least: 3,
    most: 200,
    pointer: 'Click the corners on the picture, drag one to move it.',
    events: 'Events when something enters or leaves',
  },
  line: {
    title: 'Line',
    least: 2,
    most: 2,
    pointer:
      'Click where the line begins and where it ends, drag an end to move it; the arrow is to its right.',
    events: 'Events when something crosses it',
  },
} as const satisfies Record<ShapeKind, unknown>;

const KEYBOARD =
  'Or with the keyboard: arrow keys move the cross (Shift: far), Enter sets a point, Backspace takes the last one ' +
  'back, Escape ends.';

/** What to say of a zone or a line that is being drawn, and what to do with it. */
export function shapeForm() {
  const help = h('p', { className: 'dim' });
  const nameLabel = h('span');
  const name = h('input', { required: true, pattern: '[A-Za-z0-9][A-Za-z0-9._\\-]*', maxLength: 64 });
  const eventsLabel = h('span');
  const events = h('input', { type: 'checkbox', checked: true });
  const preview = h('button', { type: 'button' }, 'Try on the last 24 hours');
  const undo = h('button', { type: 'button' }, 'Take point back');
  const save = h('button', { type: 'submit' });
  const cancel = h('button', { type: 'button' }, 'Cancel');
  const status = h('p', { role: 'status' });
  const element = h(
    'form',
    { hidden: true },
    help,
    h('label', {}, nameLabel, ' ', name),
    h('label', {}, events, ' ', eventsLabel),
    h('div', { className: 'bar' }, save, preview, undo, cancel),
  );
  return {
    element,
    preview,
    undo,
    save,
    cancel,
    status,
    open(kind: ShapeKind, shownName: string) {
      const words = KINDS[kind];
      element.ariaLabel = words.title;
      setText(help, `${words.pointer} ${KEYBOARD}`);
      setText(nameLabel, `Name of the ${kind}`);
      setText(eventsLabel, words.events);
      setText(save, `Save ${kind}`);
      name.value = shownName;
      element.hidden = false;
    },
    tell(count: number, [x, y]: Point) {
      undo.disabled = count === 0;
      const place = `${Math.round(x * 100)} % from the left, ${Math.round(y * 100)} % from the top`;
      setText(status, `${count} ${count === 1 ? 'point' : 'points'}; the cross is ${place}.`);
    },
    /** @throws Error where points are missing */
    draft(kind: ShapeKind, points: Point[]): ShapeDraft {
      const { title, least } = KINDS[kind];
      if (points.length < least) throw new Error(`${title}: it takes ${least} points.`);
      const said = { name: name.value, events: events.checked };
      return kind === 'zone' ? { ...said, polygon: points } : { ...said, from: points[0], to: points[1] };
    },
  };
}
