import { Bits, nalUnits, type ReferenceCheck } from './nal-units.ts';

/** Profiles whose sequence parameter sets begin with their chroma format (7.3.2.1.1). */
const WITH_CHROMA = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/** How wide frame_num is; undefined where frames may be missing on purpose, or what comes before it is not known. */
function widthOf(nal: Buffer): number | undefined {
  const bits = new Bits(nal, 1);
  const profile = bits.read(8);
  bits.skip(16);
  bits.golomb();
  if (WITH_CHROMA.includes(profile)) {
    if (bits.golomb() === 3) return undefined;
    bits.skipGolombs(2);
    bits.skip(1);
    if (bits.flag()) return undefined;
  }
  const width = bits.golomb() + 4;
  const orderType = bits.golomb();
  if (orderType === 1 || width > 16) return undefined;
  if (orderType === 0) bits.golomb();
  bits.golomb();
  return bits.flag() ? undefined : width;
}

/**
 * Notices that a picture which others build on has not come, by the numbers of an H.264 stream (7.4.3, frame_num): FFmpeg
 * puts another in its place, and what follows is smeared without a word.
 */
export class FrameNumbers implements ReferenceCheck {
  #width: number | undefined;
  #reference: number | undefined;

  isGap(picture: Buffer): boolean {
    for (const nal of nalUnits(picture, isSlice)) {
      const type = (nal[0] ?? 0) & 31;
      if (type === 7) this.#width = widthOf(nal);
      if (!isSlice(type)) continue;
      if (this.#width === undefined) return false;
      const bits = new Bits(nal, 1, 24);
      bits.skipGolombs(3);
      return this.#follow(bits.read(this.#width), type === 5, ((nal[0] ?? 0) & 0x60) !== 0);
    }
    return false;
  }

  #follow(number: number, isIdr: boolean, isReference: boolean): boolean {
    const before = this.#reference;
    if (isIdr || isReference) this.#reference = number;
    if (isIdr || before === undefined) return false;
    return number !== before && number !== (before + 1) % 2 ** (this.#width ?? 4);
  }
}

const isSlice = (header: number) => (header & 31) === 1 || (header & 31) === 5;
