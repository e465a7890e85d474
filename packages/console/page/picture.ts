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

/** A stored picture. Where it can't be shown, the server's reason stands in its place. */
export function storedImage(properties: Record<string, unknown>): HTMLImageElement {
  const image = h('img', properties);
  onMissing(image, (reason) => {
    image.replaceWith(h('span', { className: `${image.className} missing`, title: reason }, reason));
  });
  return image;
}

/** A row that leaves a list sooner loads no picture, milliseconds: while the list flies by, none would be seen. */
const REST_MS = 100;
const rested = new WeakSet<object>();

/** A stored picture of a list's item, loaded once its row rests in the page; at once if it had been loaded before. */
export function restingImage(item: object, src: string): HTMLElement {
  const image = storedImage({ decoding: 'async', alt: '' });
  const show = () => {
    rested.add(item);
    image.src = src;
  };
  if (rested.has(item)) show();
  else setTimeout(() => image.isConnected && show(), REST_MS);
  return image;
}

/** Calls `tell` with the server's reason each time when an image can't be shown. */
export function onMissing(image: HTMLImageElement, tell: (reason: string) => void): void {
  image.onerror = () =>
    getJson(image.src).catch((error: Error) =>
      // The picture itself is no JSON.
      tell(error instanceof SyntaxError ? "The browser can't show this picture." : error.message),
    );
}

/** Draws on a picture, in addition to the boxes. */
type Overlay = (context: CanvasRenderingContext2D, frame: FrameFacts) => void;

/**
 * A canvas that shows frames of one stream with their boxes. It fetches one picture at a time: while one is under way,
 * only the newest frame asked for is remembered, so that a slow browser shows fewer frames instead of old ones.
 */
export class Picture {
  readonly canvas: HTMLCanvasElement;
  readonly #filter: () => BoxFilter;
  readonly #fit: boolean;
  readonly #overlay: Overlay | undefined;
  #shown: { frame: FrameFacts; bitmap: ImageBitmap } | undefined;
  #wanted: FrameFacts | undefined;
  #isBusy = false;

  /** @param fit decode only at the canvas's size on the screen, for a wall of many */
  constructor(canvas: HTMLCanvasElement, filter: () => BoxFilter, fit: boolean, overlay?: Overlay) {
    this.canvas = canvas;
    this.#filter = filter;
    this.#fit = fit;
    this.#overlay = overlay;
  }

  get frame(): FrameFacts | undefined {
    return this.#shown?.frame;
  }

  /** Requests a frame. Resolves when no request is left. */
  async show(frame: FrameFacts): Promise<void> {
    this.#wanted = frame;
    if (this.#isBusy) return;
    this.#isBusy = true;
    while (this.#wanted) {
      const next: FrameFacts = this.#wanted;
      this.#wanted = undefined;
      await this.#load(next).catch(() => {});
    }
    this.#isBusy = false;
  }

  /** Draws the current frame again, after the filter has changed. */
  redraw(): void {
    if (!this.#shown) return;
    const { frame, bitmap } = this.#shown;
    const { canvas } = this;
    if (canvas.width !== bitmap.width) canvas.width = bitmap.width;
    if (canvas.height !== bitmap.height) canvas.height = bitmap.height;
    const context = canvas.getContext('2d');
    if (!context) return;
    const filter = this.#filter();
    context.drawImage(bitmap, 0, 0);
    this.#overlay?.(context, frame);
    drawBoxes(context, frame.detections, filter, bitmap.width / frame.width);
    canvas.dataset.frame = frameId(frame);
    canvas.ariaLabel = `${frame.stream_id}: ${summary(visible(frame.detections, filter))}`;
  }

  async #load(frame: FrameFacts): Promise<void> {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const response = await fetch(frameUrl(frame, 'frames', 'jpg'), { signal });
    if (!response.ok) return;
    const wide = Math.round(this.canvas.clientWidth * devicePixelRatio);
    const size = this.#fit && wide > 0 && wide < frame.width ? { resizeWidth: wide } : {};
    const bitmap = await createImageBitmap(await response.blob(), size);
    this.#shown?.bitmap.close();
    this.#shown = { frame, bitmap };
    this.redraw();
  }
}
