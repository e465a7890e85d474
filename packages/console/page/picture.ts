import type { FrameFacts } from '../src/api.ts';
import { type BoxFilter, drawBoxes, visible } from './boxes.ts';
import { DEADLINE_MS, getJson, h, streamPath } from './dom.ts';
import { summary } from './format.ts';

/** `<captured_at>-<frame_number>`, the frame's name in addresses. */
export function frameId(frame: FrameFacts): string {
  return `${frame.captured_at}-${frame.frame_number}`;
}

export function frameUrl(frame: FrameFacts, what: 'frames' | 'annotated', extension: 'jpg' | 'json'): string {
  return `${streamPath(frame.stream_id)}/${what}/${frameId(frame)}.${extension}`;
}

/** A stored picture. If it can't be shown, the server's reason is shown instead. */
export function storedImage(properties: Record<string, unknown>): HTMLImageElement {
  const image = h('img', properties);
  onMissing(image, (reason) => {
    image.replaceWith(h('span', { className: `${image.className} missing`, title: reason }, reason));
  });
  return image;
}

/** A row must stay this long before its picture is loaded, milliseconds: in a list that flies by, nobody sees it. */
const REST_MS = 100;
const rested = new WeakSet<object>();

/** A stored picture of a list's item, loaded once its row has stayed in the page; at once if it was loaded before. */
export function lazyImage(item: object, src: string): HTMLElement {
  const image = storedImage({ decoding: 'async', alt: '' });
  const show = () => {
    rested.add(item);
    image.src = src;
  };
  if (rested.has(item)) show();
  else setTimeout(() => image.isConnected && show(), REST_MS);
  return image;
}

/** Calls `report` with the server's reason and the status of its answer, each time when an image can't be shown. */
export function onMissing(image: HTMLImageElement, report: (reason: string, status: unknown) => void): void {
  image.onerror = () =>
    getJson(image.src).catch(({ name, message, cause }: Error) =>
      // The picture itself is no JSON.
      report(name === 'SyntaxError' ? "The browser can't show this picture." : message, cause),
    );
}

/** Draws on a picture, in addition to the boxes. */
type Overlay = (context: CanvasRenderingContext2D, frame: FrameFacts) => void;

/**
 * Shows frames of one stream with their boxes on a canvas. It fetches one picture at a time: while one is under way,
 * only the newest frame asked for is remembered, so that a slow browser shows fewer frames instead of old ones.
 * @param fit decode only at the canvas's size on the screen, for a wall of many
 */
export function pictureOn(
  canvas: HTMLCanvasElement,
  filter: () => BoxFilter,
  fit: boolean,
  overlay?: Overlay,
) {
  let shown: { frame: FrameFacts; bitmap: ImageBitmap } | undefined;
  let wanted: FrameFacts | undefined;
  let isBusy = false;

  async function load(frame: FrameFacts): Promise<void> {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const response = await fetch(frameUrl(frame, 'frames', 'jpg'), { signal });
    if (!response.ok) return;
    const wide = Math.round(canvas.clientWidth * devicePixelRatio);
    const size = fit && wide > 0 && wide < frame.width ? { resizeWidth: wide } : {};
    const bitmap = await createImageBitmap(await response.blob(), size);
    shown?.bitmap.close();
    shown = { frame, bitmap };
    redraw();
  }
  /** Draws the current frame again, after the filter has changed. */
  function redraw(): void {
    const context = shown && canvas.getContext('2d');
    if (!shown || !context) return;
    const { frame, bitmap } = shown;
    if (canvas.width !== bitmap.width) canvas.width = bitmap.width;
    if (canvas.height !== bitmap.height) canvas.height = bitmap.height;
    const boxes = filter();
    context.drawImage(bitmap, 0, 0);
    overlay?.(context, frame);
    drawBoxes(context, frame.detections, boxes, bitmap.width / frame.width);
    canvas.dataset.frame = frameId(frame);
    canvas.ariaLabel = `${frame.stream_id}: ${summary(visible(frame.detections, boxes))}`;
  }
  return {
    canvas,
    redraw,
    frame: () => shown?.frame,
    /** Requests a frame. Resolves when no request is left. */
    async show(frame: FrameFacts): Promise<void> {
      wanted = frame;
      if (isBusy) return;
      isBusy = true;
      while (wanted) {
        const next: FrameFacts = wanted;
        wanted = undefined;
        await load(next).catch(() => {});
      }
      isBusy = false;
    },
  };
}
