import type { FrameFacts } from '../src/api.ts';
import type { DetectionPreview, StreamDetection } from '../src/detection-api.ts';
import { SHOW_ALL } from './boxes.ts';
import { button, getJson, h, insist, sendJson, setText, streamPath, whileDisabled } from './dom.ts';
import { summary } from './format.ts';
import { pictureOn } from './picture.ts';

/** The server may ask the inference server twice, for 8 s each. */
const PREVIEW_TIMEOUT_MS = 20_000;

/**
 * A form for the model of a stream and the detections that are kept. They can be chosen, tried on the newest picture
 * beside its current detections, and saved.
 */
export function detectionPanel(streamId: string, signal: AbortSignal) {
  const path = `${streamPath(streamId)}/detection`;
  const model = h('select', { id: 'detection-model' });
  const classes = h('div.choices', { role: 'group', ariaLabel: 'Classes' });
  const least = h('input', { type: 'number', id: 'detection-least', min: '0', max: '1', step: '0.01' });
  const status = h('p', { role: 'status' });
  const show = button('Show the change', { onclick: () => whileDisabled(show, status, preview) });
  const keep = h('button', 'Save');
  const models = h('label', { for: model.id }, 'Model ', model);
  const confidence = h('label', { for: least.id }, 'Confidence of at least ', least);
  const note = h('p.dim', 'Classes; none chosen: all');
  const bar = h('div.bar', show, keep);
  const form = h('form', { hidden: true }, models, confidence, note, classes, bar);
  const element = h('fieldset', h('legend', 'Detection'), form, status);
  const today = sideOf('Today');
  const changed = sideOf('With the change');
  const comparison = h('div.sides', { hidden: true }, today.element, changed.element);
  let known: StreamDetection | undefined;

  model.onchange = () => listClasses(chosen());
  form.onsubmit = (event) => {
    event.preventDefault();
    whileDisabled(keep, status, save);
  };
  const tell = ({ message }: Error) => setText(status, message);
  insist(() => getJson<StreamDetection>(path, { signal }), signal, tell).then(take, tell);
  return { element, comparison };

  function take(now: StreamDetection): void {
    known = now;
    const names = now.models.map(({ name }) => name);
    const options = [
      ['', `default${names[0] ? ` (${names[0]})` : ''}`],
      ...[...new Set([...names, now.model ?? ''])].filter(Boolean).map((name) => [name, name]),
    ];
    model.replaceChildren(...options.map(([value, text]) => h('option', { value }, text ?? '')));
    model.value = now.model ?? '';
    least.value = now.min_confidence ? String(now.min_confidence) : '';
    listClasses(new Set(now.classes ?? []));
    form.hidden = !now.writable;
    const unwritable = 'To change it here, start the console with STREAMS_FILE.';
    setText(status, now.writable ? (now.problem ?? '') : unwritable);
  }
  function listClasses(on: ReadonlySet<string>): void {
    const models = known?.models ?? [];
    const names = (models.find(({ name }) => name === model.value) ?? models[0])?.classes ?? [];
    const boxes = [...new Set([...names, ...on])].map((value) =>
      h('label', h('input', { type: 'checkbox', value, checked: on.has(value) }), ` ${value}`),
    );
    classes.replaceChildren(...boxes);
  }
  function chosen(): Set<string> {
    return new Set(
      [...classes.querySelectorAll('input')].flatMap(({ checked, value }) => (checked ? value : [])),
    );
  }
  function draft() {
    const wanted = [...chosen()];
    return {
      model: model.value || null,
      classes: wanted.length > 0 ? wanted : null,
      min_confidence: least.value === '' ? null : Number(least.value),
    };
  }
  async function preview(): Promise<void> {
    setText(status, 'Looking at the newest picture');
    const answer = await sendJson<DetectionPreview>('POST', `${path}/preview`, draft(), PREVIEW_TIMEOUT_MS);
    const { frame, model: by, detections } = answer;
    comparison.hidden = false;
    await Promise.all([today.show(frame), changed.show({ ...frame, detections, model: by })]);
    setText(status, `${frame.detections.length} today, ${detections.length} with the change, by ${by}.`);
  }
  async function save(): Promise<void> {
    take(await sendJson<StreamDetection>('POST', path, draft(), PREVIEW_TIMEOUT_MS));
    comparison.hidden = true;
    setText(status, 'Saved. It applies from the next pictures on.');
  }
}

/** A picture with its detections, and a summary of them as text. */
function sideOf(title: string) {
  const canvas = h('canvas', { role: 'img', width: 640, height: 360, ariaLabel: title });
  const caption = h('figcaption', title);
  const picture = pictureOn(canvas, () => SHOW_ALL, true);
  return {
    element: h('figure', canvas, caption),
    async show(frame: FrameFacts): Promise<void> {
      await picture.show(frame);
      setText(caption, `${title}: ${summary(frame.detections)}`);
    },
  };
}
