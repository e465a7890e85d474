import type { Point } from '@video-pipeline/scene';

/** Distance within which a pointer selects a point, CSS pixels. */
const NEAR = 14;

/** The picture's rectangle in the canvas: centred, with its own aspect ratio. CSS pixels, relative to the window. */
function pictureBox(canvas: HTMLCanvasElement) {
  const box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
  const [width, height] = [canvas.width * scale, canvas.height * scale];
  return {
    left: box.left + (box.width - width) / 2,
    top: box.top + (box.height - height) / 2,
    width,
    height,
  };
}

/** The pointer's position on the picture. Beside the picture, it is the nearest point of its border. */
export function pointOf(
  canvas: HTMLCanvasElement,
  { clientX, clientY, button }: PointerEvent,
): Point | undefined {
  if (button > 0) return undefined;
  const { left, top, width, height } = pictureBox(canvas);
  return inside([(clientX - left) / width, (clientY - top) / height]);
}

export function isNear(
  canvas: HTMLCanvasElement,
  [x, y]: Point,
  { clientX, clientY }: PointerEvent,
): boolean {
  const { left, top, width, height } = pictureBox(canvas);
  return Math.hypot(left + x * width - clientX, top + y * height - clientY) < NEAR;
}

/** A point within the picture, to four digits: a tenth of a pixel of a large picture. */
export function inside([x, y]: Point): Point {
  const round = (value: number) => Math.round(Math.min(1, Math.max(0, value)) * 10_000) / 10_000;
  return [round(x), round(y)];
}
