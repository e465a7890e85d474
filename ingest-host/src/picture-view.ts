import {
  AV_FRAME_DATA_DISPLAYMATRIX,
  AV_FRAME_FLAG_INTERLACED,
  AV_FRAME_FLAG_TOP_FIELD_FIRST,
} from 'node-av/constants';
import type { RawFrame } from './raw-frame.ts';

/** What of a picture's side data is not to be done. */
export interface ViewOptions {
  /** False leaves interlaced pictures as they are. */
  deinterlace?: boolean;
  /** True makes pixels that are not square so. */
  squarePixels?: boolean;
}

/** A picture as a player shows it, by its side data. */
export interface View {
  /** FFmpeg's filters that make it so, but for the aspect ratio. */
  filters: string[];
  /** After them, pixels. */
  width: number;
  /** After them, pixels. */
  height: number;
  /** How much wider a pixel is to be made. */
  aspect: number;
  /** The filters give a picture only when the next one comes. */
  isLate: boolean;
}

export function viewOf(
  picture: RawFrame,
  { deinterlace = true, squarePixels = false }: ViewOptions = {},
): View {
  const { width, height } = picture;
  const isLate = deinterlace && picture.hasFlags(AV_FRAME_FLAG_INTERLACED);
  const turns = turnsOf(picture.getSideData(AV_FRAME_DATA_DISPLAYMATRIX));
  const filters = isLate ? [firstField(picture), ...turns] : turns;
  const { num, den } = picture.sampleAspectRatio;
  const aspect = squarePixels && num > 0 && den > 0 ? num / den : 1;
  return turns.some((turn) => turn.startsWith('transpose'))
    ? { filters, width: height, height: width, aspect: 1 / aspect, isLate }
    : { filters, width, height, aspect, isLate };
}

/** From the rows of one moment: those of the other are 20 ms away, and show as a comb where something moves. */
function firstField(picture: RawFrame): string {
  return `estdif=mode=frame:parity=${picture.hasFlags(AV_FRAME_FLAG_TOP_FIELD_FIRST) ? 'tff' : 'bff'}`;
}

/** @param matrix 3x3 numbers of 16.16 bits, as ISO/IEC 14496-12, 6.2.2 has them; by quarter turns and mirrors only */
function turnsOf(matrix: Buffer | null): string[] {
  if (matrix === null || matrix.length < 36) return [];
  const at = (index: number) => matrix.readInt32LE(index * 4);
  const quarters = Math.round(Math.atan2(at(1), at(0)) / (Math.PI / 2)) & 3;
  if (quarters === 1) return [`transpose=${at(3) > 0 ? 'cclock_flip' : 'clock'}`];
  if (quarters === 3) return [`transpose=${at(3) < 0 ? 'clock_flip' : 'cclock'}`];
  if (quarters === 2) return [...(at(0) < 0 ? ['hflip'] : []), ...(at(4) < 0 ? ['vflip'] : [])];
  return at(4) < 0 ? ['vflip'] : [];
}
