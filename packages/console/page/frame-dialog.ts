import type { FrameFacts } from '../src/api.ts';
import { API, getJson, h } from './dom.ts';
import { summary } from './format.ts';
import { frameId, frameUrl } from './picture.ts';
import { frameLinks } from './stream-view.ts';

/** The address without the frame that is shown large: what differs in it alone is the same view. */
export function viewOf(hash: string): string {
  return hash.replace(/[?&]frame=[^&]*/, '');
}

function addressOf(frame: FrameFacts): string {
  const view = viewOf(location.hash);
  const name = encodeURIComponent(`${frame.stream_id}/${frameId(frame)}`);
  return `${view}${view.includes('?') ? '&' : '?'}frame=${name}`;
}

/** Shows the frame that an address names as `frame=<stream>/<captured_at>-<number>`. */
export async function openNamed(name: string): Promise<void> {
  const [stream = '', id = ''] = name.split('/');
  const path = `${API}/streams/${encodeURIComponent(stream)}/frames/${encodeURIComponent(id)}.json`;
  openFrame([await getJson<FrameFacts>(path)], 0);
}

/** Shows one of the frames found, large; arrow keys go to the others. It has an address, and Back closes it. */
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
    history.replaceState(history.state, '', addressOf(frame));
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
  // One whose address was opened has nothing of ours to go back to.
  const isOwn = location.hash === viewOf(location.hash);
  if (isOwn) history.pushState(null, '', location.hash);
  const leave = () => {
    if (location.hash === viewOf(location.hash)) dialog.close();
  };
  addEventListener('popstate', leave);
  dialog.onclose = () => {
    removeEventListener('popstate', leave);
    dialog.remove();
    if (location.hash === viewOf(location.hash)) return;
    if (isOwn) history.back();
    else history.replaceState(null, '', viewOf(location.hash));
  };
  show(index);
  document.body.append(dialog);
  dialog.showModal();
}
