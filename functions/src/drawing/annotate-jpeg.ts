import type { Detection, Frame } from '@video-pipeline/frame';
import { PictureError, readPictureHeader } from '@video-pipeline/picture';
import { decodeRgb, encodeJpeg } from '@video-pipeline/picture/codec';
import { classColour, readableOn, trackColour } from './colour.ts';
import { type Glyphs, loadGlyphs } from './glyphs.ts';
import {
  drawText,
  fillRectangle,
  type Pixels,
  type Rectangle,
  strokeRectangle,
  textWidth,
} from './pixels.ts';

export { PictureError };

const QUALITY = 85;
/** Most pixels of a picture: four of these in work fit into the function's memory. */
const MAX_PIXELS = 50_000_000;
/** What every JPEG begins with: start of image, and the next marker's first byte (ITU-T T.81, B.1.1.3). */
const JPEG_START = Buffer.from([0xff, 0xd8, 0xff]);

/**
 * Draws a box and a label for every detection.
 * @param frame a JPEG and the size that its record says it has, upright, pixels
 * @returns an upright JPEG of that size, quality 85, 4:2:0, without metadata
 * @throws PictureError when it is no JPEG, broken, over 50 million pixels, or not of that size
 */
export async function annotateJpeg(
  frame: Pick<Frame, 'jpeg' | 'width' | 'height'>,
  detections: readonly Detection[],
): Promise<Buffer> {
  const pixels = await decode(frame);
  const glyphs = await loadGlyphs(textSize(pixels));
  // The surest last, so that its label is on top.
  const order = detections.toSorted((one, other) => one.confidence - other.confidence);
  for (const detection of order) drawDetection(pixels, detection, glyphs);
  return encodeJpeg(pixels, QUALITY);
}

async function decode({ jpeg, width, height }: Pick<Frame, 'jpeg' | 'width' | 'height'>): Promise<Pixels> {
  if (!jpeg.subarray(0, JPEG_START.length).equals(JPEG_START)) throw new PictureError('is not a JPEG');
  if (width * height > MAX_PIXELS) throw new PictureError(`is over ${MAX_PIXELS} pixels: ${width}x${height}`);
  // The limit keeps a small file that unpacks to a huge picture out of memory.
  const limits = { maxPixels: width * height, limit: 'the pixel limit of its record' };
  let picture: Pixels;
  try {
    // Upright by its EXIF orientation, as models see it and boxes are given.
    picture = await decodeRgb(jpeg, readPictureHeader(jpeg, limits));
  } catch (cause) {
    throw new PictureError(`can't be decoded: ${(cause as Error).message}`, { cause });
  }
  if (picture.width !== width || picture.height !== height) {
    throw new PictureError(
      `is ${picture.width}x${picture.height} pixels, its record says ${width}x${height}`,
    );
  }
  return picture;
}

function drawDetection(pixels: Pixels, detection: Detection, glyphs: Glyphs): void {
  const [x1, y1, x2, y2] = detection.bbox;
  const box = { left: Math.floor(x1), top: Math.floor(y1), right: Math.ceil(x2), bottom: Math.ceil(y2) };
  const { class_id, class_name, confidence, track_id } = detection;
  const colour = track_id === undefined ? classColour(class_id) : trackColour(track_id);
  strokeRectangle(pixels, box, lineWidth(pixels), colour);
  const text = `${class_name} ${confidence.toFixed(2)}${track_id === undefined ? '' : ` ${track_id}`}`;
  const label = labelPlace(box, textWidth(text, glyphs), glyphs.height, pixels);
  fillRectangle(pixels, label, colour);
  drawText(pixels, text, label.left + PADDING, label.top, glyphs, readableOn(colour));
}

/** Room left and right of a label's text, pixels. */
const PADDING = 3;

/** On top of the box, or in it where there is no room above; always inside the picture. */
function labelPlace(box: Rectangle, textWidth: number, height: number, picture: Pixels): Rectangle {
  const width = textWidth + 2 * PADDING;
  const left = Math.max(0, Math.min(box.left, picture.width - width));
  const above = box.top - height;
  const top = Math.max(0, Math.min(above >= 0 ? above : box.top, picture.height - height));
  return { left, top, right: left + width, bottom: top + height };
}

function lineWidth({ width, height }: Pixels): number {
  return Math.max(2, Math.round(Math.min(width, height) / 300));
}

function textSize({ width, height }: Pixels): number {
  return Math.max(11, Math.round(Math.min(width, height) / 40));
}
