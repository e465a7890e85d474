import type { Point } from '@video-pipeline/scene';

/** So near, a pointer means the point itself, CSS pixels. */
const NEAR = 14;

/** The picture within the canvas, which is centred in it and keeps its shape. CSS pixels, relative to the window. */
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

/** Where on the picture the pointer is; its border where it is beside it. */
export function pointOf(
  canvas: HTMLCanvasElement,
  { clientX, clientY, button }: PointerEvent,
): Point | undefined {
  if (button > 0) return undefined;
  const { left, top, width, height } = pictureBox(canvas);
  return inside([(clientX - left) / width, (clientY - top) / height]);
}

/** Whether the pointer means this point of the picture. */
export function isNear(
  canvas: HTMLCanvasElement,
  [x, y]: Point,
  { clientX, clientY }: PointerEvent,
): boolean {
  const { left, top, width, height } = pictureBox(canvas);
  return Math.hypot(left + x * width - clientX, top + y * height - clientY) < NEAR;
}

/** Within the picture, to four digits: a tenth of a pixel of a large picture. */
export function inside([x, y]: Point): Point {
  const round = (value: number) => Math.round(Math.min(1, Math.max(0, value)) * 10_000) / 10_000;
  return [round(x), round(y)];
}
