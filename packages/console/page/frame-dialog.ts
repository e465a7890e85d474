import type { FrameFacts } from '../src/api.ts';
import { button, getJson, h, streamPath } from './dom.ts';
import { summary, viewOf } from './format.ts';
import { frameId, frameUrl, storedImage } from './picture.ts';
import { storedBoxes } from './stored-boxes.ts';
import { frameLinks } from './stream-view.ts';

/** A large view of one of several items. */
interface Large<Item> {
  label: string;
  items: readonly Item[];
  /** The part of the address that names an item, `frame=...` or `event=...`. */
  address: (item: Item) => string;
  render: (item: Item) => Node[];
  /** Called with the index of the item that is shown now. */
  shown?: (index: number) => void;
  /** Called for a key. @returns whether the key has changed the item */
  key?: (key: string, item: Item) => boolean;
}

/** Shows one of several items large. Arrow keys, j and k go to the others. It has an address, and Back closes it. */
export function openLarge<Item>(index: number, large: Large<Item>): void {
  const { label, items, address, render, shown, key } = large;
  const body = h('div');
  const close = button('Close', { onclick: () => dialog.close() });
  const newer = button('Newer', { onclick: () => show(index - 1) });
  const older = button('Older', { onclick: () => show(index + 1) });
  const bar = h('div.bar', newer, older, close);
  const dialog = h('dialog', { ariaLabel: label }, body, bar);
  const show = (next: number) => {
    const item = items[next];
    if (!item) return;
    index = next;
    const view = viewOf(location.hash);
    history.replaceState(history.state, '', `${view}${view.includes('?') ? '&' : '?'}${address(item)}`);
    newer.disabled = next === 0;
    older.disabled = next === items.length - 1;
    // A disabled button loses the focus, and with it the dialog its keys.
    if (dialog.querySelector(':focus:disabled')) close.focus();
    body.replaceChildren(...render(item));
    shown?.(next);
  };
  dialog.onkeydown = (event) => {
    if (event.target instanceof HTMLVideoElement) return;
    if (['ArrowLeft', 'k'].includes(event.key)) show(index - 1);
    else if (['ArrowRight', 'j'].includes(event.key)) show(index + 1);
    else {
      const item = items[index];
      if (item !== undefined && key?.(event.key, item)) show(index);
    }
  };
  // A dialog whose address was opened directly has no history entry to go back to.
  const isOwn = location.hash === viewOf(location.hash);
  if (isOwn) history.pushState(history.state, '', location.hash);
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

/** Shows the frame that an address names by `frame=<stream>/<captured_at>-<number>`. */
export async function openNamed(name: string): Promise<void> {
  const [stream = '', id = ''] = name.split('/');
  const path = `${streamPath(stream)}/frames/${encodeURIComponent(id)}.json`;
  openFrame([await getJson<FrameFacts>(path)], 0);
}

export function openFrame(frames: readonly FrameFacts[], index: number): void {
  openLarge(index, {
    label: 'Frame',
    items: frames,
    address: (frame) => `frame=${encodeURIComponent(`${frame.stream_id}/${frameId(frame)}`)}`,
    render: (frame) => {
      const src = frameUrl(frame, 'annotated', 'jpg');
      const picture = storedImage({ className: 'frame', src, alt: summary(frame.detections) });
      const boxes = storedBoxes(picture);
      boxes.show(frame);
      const title = h('h1', `${frame.stream_id}, frame ${frame.frame_number}`);
      const bar = h('div.bar', boxes.toggle, ...frameLinks(frame));
      return [title, boxes.element, bar, h('ul', ...frame.detections.map(detectionItem))];
    },
  });
}

function detectionItem(detection: FrameFacts['detections'][number]) {
  const { class_name, confidence, bbox, polygon, keypoints, track_id, zones = [] } = detection;
  const where = zones.length > 0 ? `, in ${zones.join(', ')}` : '';
  const track = track_id === undefined ? '' : `, track ${track_id}`;
  const box = bbox.map(Math.round).join(', ');
  const mask = polygon ? `, outline of ${polygon.length} points` : '';
  const pose = keypoints ? `, ${keypoints.length} key points` : '';
  return h('li.num', `${class_name} ${confidence.toFixed(2)} at ${box}${mask}${pose}${where}${track}`);
}
