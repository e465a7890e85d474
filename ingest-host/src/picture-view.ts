import {
  AV_FRAME_DATA_DISPLAYMATRIX,
  AV_FRAME_FLAG_INTERLACED,
  AV_FRAME_FLAG_TOP_FIELD_FIRST,
} from 'node-av/constants';
import type { RawFrame } from './raw-frame.ts';

/** Largest ratio of a pixel's sides. A larger one is an error and is ignored. */
const MAX_ASPECT = 4;

/** How a picture's side data is applied. */
export interface ViewOptions {
  /** Default true; false leaves interlaced pictures unchanged. */
  deinterlace?: boolean | undefined;
  /** True scales pictures so that their pixels are square. */
  squarePixels?: boolean;
}

/** How a player shows a picture, by its side data. */
export interface View {
  /** FFmpeg's filters for this view, without the aspect ratio. */
  filters: string[];
  /** Width and height after the filters, pixels. */
  width: number;
  height: number;
  /** Factor for the width of a pixel. */
  aspect: number;
  /** Whether the filters output a picture only when the next one is added. */
  isLate: boolean;
}

export function viewOf(
  picture: RawFrame,
  { deinterlace = true, squarePixels = false }: ViewOptions = {},
): View {
  const { width, height } = picture;
  const isLate = deinterlace && picture.hasFlags(AV_FRAME_FLAG_INTERLACED);
  const turns = turnsOf(picture.getSideData(AV_FRAME_DATA_DISPLAYMATRIX));
  const parity = picture.hasFlags(AV_FRAME_FLAG_TOP_FIELD_FIRST) ? 'tff' : 'bff';
  // Deinterlaced from one field: the rows of the other are 20 ms apart, and motion would show as a comb.
  const filters = isLate ? [`estdif=mode=frame:parity=${parity}`, ...turns] : turns;
  const { num, den } = picture.sampleAspectRatio;
  const ratio = num / den;
  const aspect = squarePixels && ratio >= 1 / MAX_ASPECT && ratio <= MAX_ASPECT ? ratio : 1;
  return turns.some((turn) => turn.startsWith('transpose'))
    ? { filters, width: height, height: width, aspect: 1 / aspect, isLate }
    : { filters, width, height, aspect, isLate };
}

/** @param matrix 3x3 fixed-point numbers, 16.16 (ISO/IEC 14496-12, 6.2.2); only quarter turns and mirrors are read */
function turnsOf(matrix: Buffer | null): string[] {
  if (matrix === null || matrix.length < 36) return [];
  const at = (index: number) => matrix.readInt32LE(index * 4);
  const quarters = Math.round(Math.atan2(at(1), at(0)) / (Math.PI / 2)) & 3;
  if (quarters === 1) return [`transpose=${at(3) > 0 ? 'cclock_flip' : 'clock'}`];
  if (quarters === 3) return [`transpose=${at(3) < 0 ? 'clock_flip' : 'cclock'}`];
  if (quarters === 2) return [...(at(0) < 0 ? ['hflip'] : []), ...(at(4) < 0 ? ['vflip'] : [])];
  return at(4) < 0 ? ['vflip'] : [];
}
