import type { FrameFacts } from '../src/api.ts';
import { h } from './dom.ts';
import { summary } from './format.ts';
import { frameUrl } from './picture.ts';
import { frameLinks } from './stream-view.ts';

/** Shows one of the frames found, large; arrow keys go to the others. */
export function openFrame(frames: readonly FrameFacts[], index: number): void {
  const body = h('div');
  const close = h('button', { type: 'button' }, 'Close');
  const newer = h('button', { type: 'button' }, 'Newer');
  const older = h('button', { type: 'button' }, 'Older');
  const dialog = h(
    'dialog',
    { ariaLabel: 'Frame' },
    body,
    h('div', { className: 'bar' }, newer, older, close),
  );
  const show = (next: number) => {
    const frame = frames[next];
    if (!frame) return;
    index = next;
    newer.disabled = next === 0;
    older.disabled = next === frames.length - 1;
    const rows = frame.detections.map(({ class_name, confidence, bbox }) =>
      h(
        'li',
        { className: 'num' },
        `${class_name} ${confidence.toFixed(2)} at ${bbox.map(Math.round).join(', ')}`,
      ),
    );
    body.replaceChildren(
      h('h1', {}, `${frame.stream_id}, frame ${frame.frame_number}`),
      h('img', {
        className: 'frame',
        src: frameUrl(frame, 'annotated', 'jpg'),
        alt: summary(frame.detections),
      }),
      h('div', { className: 'bar' }, ...frameLinks(frame)),
      h('ul', {}, ...rows),
    );
  };
  close.onclick = () => dialog.close();
  newer.onclick = () => show(index - 1);
  older.onclick = () => show(index + 1);
  dialog.onkeydown = ({ key }) => {
    if (key === 'ArrowLeft') show(index - 1);
    if (key === 'ArrowRight') show(index + 1);
  };
  dialog.onclose = () => dialog.remove();
  show(index);
  document.body.append(dialog);
  dialog.showModal();
}
