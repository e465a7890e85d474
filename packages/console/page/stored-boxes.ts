import type { FrameFacts } from '../src/api.ts';
import { drawBoxes, SHOW_ALL } from './boxes.ts';
import { h, sessionOf } from './dom.ts';

/**
 * Boxes over a stored picture or video, which a checkbox switches on and off. At first they are on if pictures are
 * stored without boxes.
 * @param media the picture or video under the boxes; it fills `element`
 */
export function storedBoxes(...media: HTMLElement[]) {
  const canvas = h('canvas.over', { width: 1, height: 1 });
  const box = h('input', { type: 'checkbox' });
  let frame: FrameSize | undefined;
  const draw = () => {
    const context = canvas.getContext('2d');
    canvas.width = frame?.width ?? 1;
    canvas.height = frame?.height ?? 1;
    if (context && frame && box.checked) drawBoxes(context, frame.detections, SHOW_ALL, 1);
  };
  box.onchange = draw;
  sessionOf().then(({ drawn }) => {
    box.checked = !drawn;
    draw();
  }, console.warn);
  return {
    element: h('div.shown', ...media, canvas),
    toggle: h('label', box, ' Boxes'),
    /** Shows the boxes of another frame; left out, none. */
    show(next?: FrameSize): void {
      frame = next;
      draw();
    },
  };
}

export type FrameSize = Pick<FrameFacts, 'width' | 'height' | 'detections'>;
