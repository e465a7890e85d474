import { setImmediate } from 'node:timers/promises';
import type { Detection, Frame } from '@video-pipeline/frame';
import { skeletonOf, surePoints } from '@video-pipeline/frame/keypoints';
import { PictureError, readPictureHeader } from '@video-pipeline/picture';
import {
  decodeRaster,
  type EncodeOptions,
  encodeJpeg,
  giveBack,
  type Raster,
} from '@video-pipeline/picture/codec';
import { edgesOf } from '@video-pipeline/scene/zones';
import { semaphoreOf } from '@video-pipeline/storage';
import { type Colour, classColour, readableOn, trackColour } from './colour.ts';
import { type Glyphs, loadGlyphs } from './glyphs.ts';
import {
  drawText,
  fillRectangle,
  type Pixels,
  type Points,
  pixelsIn,
  type Rectangle,
  strokeLine,
  strokePolygon,
  strokeRectangle,
  textWidth,
  tintPolygon,
} from './pixels.ts';

export { PictureError };

/** A JPEG, and the upright size that its record gives, pixels. */
type Recorded = Pick<Frame, 'jpeg' | 'width' | 'height'>;
type Size = Pick<Frame, 'width' | 'height'>;

/** A picture of another size than its record says. */
export class SizeMismatchError extends PictureError {}

const QUALITY = 85;
/** Most pixels of a picture: four such pictures fit into the function's memory at once. */
const MAX_PIXELS = 50_000_000;
/** A picture of 4K has fewer pixels than this. */
const USUAL_PIXELS = 10_000_000;
/**
 * Limits of the pixels that are drawn on at the same time. Large pictures have a limit of their own, so that pictures
 * of usual size do not wait for them.
 */
const semaphores = { usual: semaphoreOf(2 * USUAL_PIXELS), large: semaphoreOf(2 * MAX_PIXELS) };
/** First bytes of every JPEG: start of image, and the first byte of the next marker (ITU-T T.81, B.1.1.3). */
const JPEG_START = Buffer.from([0xff, 0xd8, 0xff]);
/** Most boxes that are drawn; a model gives no more. */
const MAX_BOXES = 300;
/** Boxes and labels may paint this many pixels. In a picture of more pixels, they may paint as many as it has. */
const MIN_PAINTED_PIXELS = 20_000_000;
/** Average width of a character of a label, as a share of the text's size. */
const CHARACTER_WIDTH = 0.6;
/** Most characters of a class's name on a label. */
const MAX_NAME = 256;
/** After this much drawing the event loop runs other work, milliseconds: heartbeats and uploads to S3, for example. */
const SLICE_MS = 10;

/**
 * Draws a label and a box, or the outline of the mask, for each {@link drawable} detection. The event loop stays free.
 * @param how encoding of the result; default: quality 85. With `boxes: false` nothing is drawn
 * @returns an upright JPEG of the recorded size without metadata: a new one in 4:2:0. With `boxes: false`, a fitting one
 * @throws PictureError when it is no JPEG, broken, over 50 million pixels, or not of the recorded size
 * @example
 * const annotated = await annotateJpeg({ jpeg, width: 1280, height: 720 }, detections, { quality: 70 });
 */
export async function annotateJpeg(
  frame: Recorded,
  detections: readonly Detection[],
  { boxes = true, ...how }: Partial<EncodeOptions> & { boxes?: boolean } = {},
): Promise<Buffer> {
  if (!boxes && isAsRecorded(frame)) return frame.jpeg;
  const pixels = pixelsOf(frame);
  const semaphore = pixels > USUAL_PIXELS ? semaphores.large : semaphores.usual;
  return semaphore(pixels, () => draw(frame, boxes ? detections : [], { quality: QUALITY, ...how }));
}

/** Whether a JPEG has no metadata, and by its header the size that its record gives. */
function isAsRecorded({ jpeg, width, height }: Recorded): boolean {
  try {
    const header = readPictureHeader(jpeg, { maxPixels: Math.min(width * height, MAX_PIXELS) });
    return header.jpeg?.isPlain === true && header.width === width && header.height === height;
  } catch {
    return false; // Drawing then says what is wrong.
  }
}

export function pixelsOf({ width, height }: Size): number {
  return width * height;
}

async function draw(frame: Recorded, detections: readonly Detection[], how: EncodeOptions): Promise<Buffer> {
  const picture = await decode(frame);
  const pixels = pixelsIn(picture);
  const glyphs = await loadGlyphs(textSize(pixels));
  let pause = performance.now() + SLICE_MS;
  // The detection of the highest confidence is drawn last, so that its label is on top.
  const drawn = drawable(frame, detections);
  // Labels that describe the whole picture are drawn one below the other.
  const whole = drawn.filter((one) => isWhole(frame, one));
  for (const detection of drawn.reverse()) {
    drawDetection(pixels, detection, glyphs, Math.max(0, whole.indexOf(detection)));
    if (performance.now() < pause) continue;
    await setImmediate();
    pause = performance.now() + SLICE_MS;
  }
  const jpeg = await encodeJpeg(picture, how);
  giveBack(picture.data);
  return jpeg;
}

/**
 * The detections that are drawn, the highest confidence first. Their number is limited, and so are the pixels that they
 * paint ({@link MIN_PAINTED_PIXELS}). The result depends on the arguments alone.
 * @param picture size, pixels
 */
export function drawable(picture: Size, detections: readonly Detection[]): Detection[] {
  const surest = detections.toSorted((one, other) => other.confidence - one.confidence).slice(0, MAX_BOXES);
  let left = Math.max(MIN_PAINTED_PIXELS, picture.width * picture.height);
  const tooMuch = surest.findIndex((detection) => {
    left -= workOf(picture, detection);
    return left < 0;
  });
  return tooMuch < 0 ? surest : surest.slice(0, tooMuch);
}

/**
 * Estimate of the pixels that a detection paints: the edges of its box, or its outline with the area in it; the part of
 * its label in the picture; and its key points.
 */
function workOf(picture: Size, detection: Detection): number {
  const [x1, y1, x2, y2] = detection.bbox;
  const width = Math.min(picture.width, Math.max(0, x2) - Math.max(0, x1));
  const height = Math.min(picture.height, Math.max(0, y2) - Math.max(0, y1));
  const size = textSize(picture);
  const line = lineWidth(picture);
  const label = Math.min(picture.width, labelText(detection).length * CHARACTER_WIDTH * size) * size;
  // A key point is a square with sides of three lines. There is about one bone for each, at most as long as the box.
  const points = (detection.keypoints?.length ?? 0) * (9 * line * line + (width + height) * line);
  return (
    label + points + (detection.polygon ? areaOf(picture, detection.polygon) : 2 * (width + height) * line)
  );
}

/** The area of the smallest box around a polygon, and its outline. */
function areaOf(picture: Size, polygon: Points): number {
  const points = near(picture, polygon);
  const [columns, rows] = [0, 1].map((axis) => {
    const places = points.map((point) => point[axis] as number);
    const side = axis === 0 ? picture.width : picture.height;
    const [min, max] = [places.reduce((a, b) => Math.min(a, b)), places.reduce((a, b) => Math.max(a, b))];
    return Math.max(0, Math.min(side, max) - Math.max(0, min));
  }) as [number, number];
  const edges = edgesOf(points).reduce(
    (sum, [[x1, y1], [x2, y2]]) => sum + Math.max(Math.abs(x2 - x1), Math.abs(y2 - y1), 1),
    0,
  );
  return columns * rows + 2 * edges * lineWidth(picture);
}

/** Points no farther outside of the picture than its size, so that a line to them is not endless. */
function near({ width, height }: Size, points: Points): Points {
  const clamp = (value: number, side: number) => Math.min(Math.max(value, -side), 2 * side);
  return points.map(([x, y]) => [clamp(x, width), clamp(y, height)]);
}

async function decode({ jpeg, width, height }: Recorded): Promise<Raster> {
  if (!jpeg.subarray(0, JPEG_START.length).equals(JPEG_START)) throw new PictureError('is not a JPEG');
  if (width * height > MAX_PIXELS) throw new PictureError(`is over ${MAX_PIXELS} pixels: ${width}x${height}`);
  // The limit keeps a small file that unpacks to a huge picture out of memory.
  const limits = { maxPixels: width * height, limit: 'the pixel limit of its record' };
  let picture: Raster;
  try {
    // Rotated upright by its EXIF orientation: models get it so, and boxes refer to it.
    picture = await decodeRaster(jpeg, readPictureHeader(jpeg, limits));
  } catch (cause) {
    if (!(cause instanceof PictureError)) throw cause;
    throw new PictureError(`can't be decoded: ${cause.message}`, { cause });
  }
  if (picture.width !== width || picture.height !== height)
    throw new SizeMismatchError(
      `is ${picture.width}x${picture.height} pixels, its record says ${width}x${height}`,
    );
  return picture;
}

/** Draws the sure key points, and between those of a person the lines of the skeleton. */
function drawKeypoints(pixels: Pixels, keypoints: readonly (readonly number[])[], colour: Colour): void {
  const line = lineWidth(pixels);
  const points = surePoints(keypoints).map((point) => point && near(pixels, [point])[0]);
  for (const [start, end] of skeletonOf(points)) strokeLine(pixels, start, end, line, colour);
  for (const point of points) {
    if (point) strokeLine(pixels, point, point, 3 * line, colour);
  }
}

/** Share of the colour in a mask: what is under it must stay visible. */
const TINT = 0.35;

function isWhole({ width, height }: Size, { bbox }: Detection): boolean {
  return bbox[0] <= 0 && bbox[1] <= 0 && bbox[2] >= width && bbox[3] >= height;
}

/** @param row number of labels that are above in the same place */
function drawDetection(pixels: Pixels, detection: Detection, glyphs: Glyphs, row: number): void {
  const [x1, y1, x2, y2] = detection.bbox;
  const box = { left: Math.floor(x1), top: Math.floor(y1), right: Math.ceil(x2), bottom: Math.ceil(y2) };
  const { class_id, track_id } = detection;
  const colour = track_id === undefined ? classColour(class_id) : trackColour(track_id);
  if (detection.polygon) {
    const outline = near(pixels, detection.polygon);
    tintPolygon(pixels, outline, colour, TINT);
    strokePolygon(pixels, outline, lineWidth(pixels), colour);
  } else strokeRectangle(pixels, box, lineWidth(pixels), colour);
  if (detection.keypoints) drawKeypoints(pixels, detection.keypoints, colour);
  const text = labelText(detection);
  const label = labelPlace(box, textWidth(text, glyphs), glyphs.height, pixels, row);
  fillRectangle(pixels, label, colour);
  drawText(pixels, text, label.left + PADDING, label.top, glyphs, readableOn(colour));
}

function labelText({ class_name, confidence, track_id }: Detection): string {
  const name = class_name.length > MAX_NAME ? `${class_name.slice(0, MAX_NAME)}...` : class_name;
  return `${name} ${confidence.toFixed(2)}${track_id === undefined ? '' : ` ${track_id}`}`;
}

/** Space left and right of a label's text, pixels. */
const PADDING = 3;

/** Above the box, or in the box if the space above is too small; always inside the picture. */
function labelPlace(
  box: Rectangle,
  textWidth: number,
  height: number,
  picture: Pixels,
  row: number,
): Rectangle {
  const width = textWidth + 2 * PADDING;
  const left = Math.max(0, Math.min(box.left, picture.width - width));
  const above = box.top - height;
  const top = Math.max(0, Math.min(above >= 0 ? above : box.top + row * height, picture.height - height));
  return { left, top, right: left + width, bottom: top + height };
}

function lineWidth({ width, height }: Size): number {
  return Math.max(2, Math.round(Math.min(width, height) / 300));
}

function textSize({ width, height }: Size): number {
  return Math.max(11, Math.round(Math.min(width, height) / 40));
}
