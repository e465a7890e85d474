import type { Detection } from '@video-pipeline/frame';
import { readPictureHeader } from '@video-pipeline/picture';
import sharp from 'sharp';

/** Side of the small pictures that are compared: coarse enough to see past a second JPEG encoding. */
const SIDE = 32;
/** The limit of annotate. */
const LIMITS = { maxPixels: 50_000_000 };
/** Largest difference of two cells, 0..255, that a second encoding may cause. */
const TOLERANCE = 6;
/** Share of the cells that may differ more than that, since drawing also changes the cells around it. */
const MAY_DIFFER = 0.02;

/**
 * Whether `annotated` is the picture `frame` with boxes drawn on it. It compares the cells of a coarse grid that no box
 * or label touches. A picture that may not, or can't, be decoded never matches. Two pictures of a still scene can't be
 * distinguished.
 */
export async function samePicture(
  frame: Buffer,
  annotated: Buffer,
  detections: Detection[],
): Promise<boolean> {
  const [before, after] = await Promise.all([coarse(frame), coarse(annotated)]).catch(() => []);
  if (!before || !after) return false;
  if (before.width !== after.width || before.height !== after.height) return false;
  const isFree = before.cells.map((_, cell) => !detections.some((one) => touches(one, cell, before)));
  const compared = before.cells.filter((_, cell) => isFree[cell]).length;
  const different = before.cells.filter(
    (value, cell) => isFree[cell] && Math.abs(value - (after.cells[cell] ?? 0)) > TOLERANCE,
  ).length;
  return different <= compared * MAY_DIFFER;
}

interface Coarse {
  width: number;
  height: number;
  /** Brightness of SIDE x SIDE cells, row by row. */
  cells: number[];
}

/** @throws Error for a picture that would cost too much to decode, or is none */
async function coarse(jpeg: Buffer): Promise<Coarse> {
  const { width, height } = readPictureHeader(jpeg, LIMITS);
  const cells = await sharp(jpeg).greyscale().resize(SIDE, SIDE, { fit: 'fill' }).raw().toBuffer();
  return { width, height, cells: [...cells] };
}

/** Whether a cell is on the edge of a box, in one with a mask or key points, or where its label may be. */
function touches({ bbox, polygon, keypoints }: Detection, cell: number, { width, height }: Coarse): boolean {
  const [x, y] = [cell % SIDE, Math.floor(cell / SIDE)];
  const [x1, y1, x2, y2] = bbox.map(
    (side, axis) => (side / (axis % 2 ? height : width)) * SIDE,
  ) as typeof bbox;
  // Up to five classes of the picture as a whole have their labels below each other.
  const labels = x1 <= 0 && y1 <= 0 && x2 >= SIDE && y2 >= SIDE ? 8 : 2;
  const isInside = x > x1 && x < x2 - 2 && y > y1 + labels && y < y2 - 2;
  const isAround = x > x1 - 2 && x < x2 + 1 && y > y1 - 4 && y < y2 + 1;
  return isAround && (polygon !== undefined || keypoints !== undefined || !isInside);
}
