import type { Point, ShapeKind } from '@video-pipeline/scene';
import type { ShapeDraft, StreamScene } from '../src/api.ts';
import { button, h, selectOf, setText } from './dom.ts';

export const KINDS = {
  zone: {
    title: 'Zone',
    least: 3,
    maxPoints: 200,
    pointer:
      'Click the corners on the picture, drag one to move it. The bottom centre of a box, drawn as a dot, decides whether ' +
      'it is inside.',
    events: 'Events when something enters or leaves',
  },
  line: {
    title: 'Line',
    least: 2,
    maxPoints: 2,
    pointer:
      'Click where the line begins and where it ends, drag an end to move it; the arrow is to its right.',
    events: 'Events when something crosses it',
  },
} as const satisfies Record<ShapeKind, unknown>;

const KEYBOARD =
  'Or with the keyboard: arrow keys move the cross (Shift: far), Enter sets a point, Backspace takes the last one ' +
  'back, Escape ends.';

const DIRECTIONS = { any: 'either way', right: 'to its right', left: 'to its left' };

export interface KnownSettings {
  events: boolean;
  classes: readonly string[];
  seconds?: number;
  count?: number;
  exclude: boolean;
  direction?: string;
}

export function rulesOf(rules: StreamScene['rules'], kind: ShapeKind, name: string) {
  return rules.filter((rule) => (rule as { zone?: string; line?: string })[kind] === name);
}

/** The settings of a zone or a line, from its rules in the scene. Of several rules of a type, the first one counts. */
export function settingsOf({ rules, excluded }: StreamScene, kind: ShapeKind, name: string): KnownSettings {
  const ours = rulesOf(rules, kind, name);
  const first = <Type extends (typeof ours)[number]['type']>(type: Type) =>
    ours.find((rule): rule is Extract<(typeof ours)[number], { type: Type }> => rule.type === type);
  const stays = first('stayed_longer');
  const over = first('count_over');
  const crossed = first('line_crossed');
  return {
    events: ours.some(({ type }) => ['entered_zone', 'left_zone', 'line_crossed'].includes(type)),
    classes: ours.find(({ classes }) => classes)?.classes ?? [],
    exclude: kind === 'zone' && excluded.includes(name),
    ...(stays ? { seconds: stays.seconds } : {}),
    ...(over ? { count: over.count } : {}),
    ...(crossed ? { direction: crossed.direction } : {}),
  };
}

export function shapeForm() {
  let was: string | undefined;
  const help = h('p.dim');
  const nameLabel = h('span');
  const name = h('input', { required: true, pattern: '[A-Za-z0-9][A-Za-z0-9._\\-]*', maxLength: 64 });
  const eventsLabel = h('span');
  const events = h('input', { type: 'checkbox', checked: true });
  const classes = h('input', { placeholder: 'all', autocomplete: 'off', size: 24 });
  const number = (least: string) =>
    h('input', { type: 'number', min: least, step: 'any', placeholder: 'off' });
  const seconds = number('0.1');
  const count = number('0');
  count.step = '1';
  const exclude = h('input', { type: 'checkbox' });
  const direction = selectOf(Object.entries(DIRECTIONS));
  const ofZone = h(
    'span.rules',
    h('label', 'Event when something stays longer than, seconds ', seconds),
    h('label', 'Event when more are in it at once than ', count),
    h('label', exclude, ' Left out: detections in it are not kept'),
  );
  const ofLine = h('span.rules', h('label', 'Crossed ', direction));
  const ofClasses = h('label', 'Of these classes, separated by commas ', classes);
  const summary = h('summary', 'More: classes, how long, how many');
  const more = h('details.rules', summary, ofClasses, ofZone, ofLine);
  const preview = button('Try on the last 24 hours');
  const undo = button('Take point back');
  const save = h('button', { type: 'submit' });
  const cancel = button('Cancel');
  const status = h('p', { role: 'status' });
  const labels = [h('label', nameLabel, ' ', name), h('label', events, ' ', eventsLabel)];
  const bar = h('div.bar', save, preview, undo, cancel);
  const element = h('form', { hidden: true }, help, ...labels, more, bar);
  return {
    element,
    preview,
    undo,
    save,
    cancel,
    status,
    /** @param known current settings; left out: the shape is new */
    open(kind: ShapeKind, shownName: string, known?: KnownSettings) {
      const words = KINDS[kind];
      element.ariaLabel = words.title;
      setText(help, `${words.pointer} ${KEYBOARD}`);
      setText(nameLabel, `Name of the ${kind}`);
      setText(eventsLabel, words.events);
      setText(save, `Save ${kind}`);
      name.value = shownName;
      was = known ? shownName : undefined;
      events.checked = known?.events ?? true;
      classes.value = known?.classes.join(', ') ?? '';
      seconds.value = known?.seconds?.toString() ?? '';
      count.value = known?.count?.toString() ?? '';
      exclude.checked = known?.exclude ?? false;
      direction.value = known?.direction ?? 'any';
      const { exclude: isOut, seconds: stays, count: over, classes: of = [] } = known ?? {};
      more.open = Boolean(isOut || of.length > 0) || stays !== undefined || over !== undefined;
      ofZone.hidden = kind !== 'zone';
      ofLine.hidden = kind !== 'line';
      element.hidden = false;
    },
    showPoints(count: number, [x, y]: Point) {
      undo.disabled = count === 0;
      const place = `${Math.round(x * 100)} % from the left, ${Math.round(y * 100)} % from the top`;
      setText(status, `${count} ${count === 1 ? 'point' : 'points'}; the cross is ${place}.`);
    },
    /** @throws Error if points are missing */
    draft(kind: ShapeKind, points: Point[]): ShapeDraft {
      const { title, least } = KINDS[kind];
      if (points.length < least) throw new Error(`${title}: it takes ${least} points.`);
      const names = classes.value.split(',').map((text) => text.trim());
      const base = {
        name: name.value,
        events: events.checked,
        classes: names.filter((text) => text !== ''),
        ...(was === undefined ? {} : { was }),
      };
      const value = ({ value: text }: HTMLInputElement) => (text === '' ? null : Number(text));
      return kind === 'zone'
        ? { ...base, polygon: points, seconds: value(seconds), count: value(count), exclude: exclude.checked }
        : { ...base, from: points[0], to: points[1], direction: direction.value };
    },
  };
}
