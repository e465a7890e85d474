import type { FrameFacts } from '../src/api.ts';
import { button, getJson, h, setText, streamPath } from './dom.ts';
import { frameId } from './picture.ts';

/** Pause, and steps through the frames that the server still holds. @param current the frame on the screen */
export function createPlayer(
  streamId: string,
  show: (frame: FrameFacts) => Promise<void>,
  current: () => FrameFacts | undefined,
) {
  let isPaused = false;
  let frames: FrameFacts[] = [];
  const toggle = async () => {
    isPaused = !isPaused;
    setText(pause, isPaused ? 'Back to live' : 'Pause');
    if (isPaused) frames = await getJson(`${streamPath(streamId)}/frames`);
  };
  const step = async (by: number) => {
    if (!isPaused) await toggle();
    const shown = current();
    const at = frames.findIndex((frame) => shown && frameId(frame) === frameId(shown));
    const frame = frames[at < 0 ? frames.length - 1 : Math.max(0, Math.min(frames.length - 1, at + by))];
    if (frame) await show(frame);
  };
  const pause = button('Pause', { title: 'Space', onclick: toggle });
  const back = button('Previous frame', { title: 'Left arrow', onclick: () => step(-1) });
  const forth = button('Next frame', { title: 'Right arrow', onclick: () => step(1) });
  return {
    bar: h('span.bar', pause, back, forth),
    isPaused: () => isPaused,
    key(event: KeyboardEvent) {
      const { target, key, ctrlKey, metaKey, altKey } = event;
      const at = target instanceof Element ? target : document.body;
      // In a field, arrow keys have their own meaning. So does the space bar, also on a button or a link.
      if (ctrlKey || metaKey || altKey || at.closest('input, select, textarea, video') !== null) return;
      if (key === ' ' && at.closest('button, a') !== null) return;
      if (key === ' ') toggle();
      else if (key === 'ArrowLeft') step(-1);
      else if (key === 'ArrowRight') step(1);
      else return;
      event.preventDefault();
    },
  };
}
