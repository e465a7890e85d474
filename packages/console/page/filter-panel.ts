import type { Detection } from '@video-pipeline/frame';
import { type BoxFilter, classColour } from './boxes.ts';
import { h, setText } from './dom.ts';

/** Controls for what is drawn. They change `filter` and call `changed`. */
export function filterPanel(
  filter: BoxFilter & { hidden: Set<string> },
  changed: () => void,
): { element: HTMLElement; addClasses: (detections: readonly Detection[]) => void } {
  const shown = h('output.num', '0.00');
  const slider = h('input', {
    type: 'range',
    min: '0',
    max: '1',
    step: '0.05',
    value: '0',
    id: 'confidence',
  });
  slider.oninput = () => {
    filter.confidence = Number(slider.value);
    setText(shown, filter.confidence.toFixed(2));
    changed();
  };
  const classes = h('fieldset', { hidden: true }, h('legend', 'Classes'));
  const known = new Set<string>();
  const shapes = [
    ['Boxes', 'boxes'],
    ['Labels', 'labels'],
    ['Zones and lines', 'zones'],
    ['Trails of tracks', 'tracks'],
  ] as const;
  const toggles = shapes.map(([text, name]) => toggle(text, (on) => (filter[name] = on)));
  const confidence = h('label', { for: 'confidence' }, 'Minimum confidence ', shown, slider);
  const show = h('fieldset', h('legend', 'Show'), ...toggles, confidence);
  return { element: h('div', show, classes), addClasses };

  function toggle(text: string, set: (on: boolean) => void, ...before: Node[]): HTMLElement {
    const box = h('input', { type: 'checkbox', checked: true });
    box.onchange = () => {
      set(box.checked);
      changed();
    };
    return h('label', box, ...before, ` ${text}`);
  }

  function addClasses(detections: readonly Detection[]): void {
    for (const { class_name, class_id } of detections) {
      if (known.has(class_name)) continue;
      known.add(class_name);
      const set = (on: boolean) => (on ? filter.hidden.delete(class_name) : filter.hidden.add(class_name));
      classes.append(toggle(class_name, set, swatch(class_id)));
      classes.hidden = false;
    }
  }
}

export function swatch(classId: number): HTMLElement {
  const element = h('span.swatch', { ariaHidden: 'true' });
  element.style.background = classColour(classId);
  return element;
}
