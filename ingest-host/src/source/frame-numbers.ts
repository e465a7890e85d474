/** Bits of a raw byte sequence payload, without the emulation prevention of its first bytes (ITU-T H.264, 7.3.1). */
class Bits {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(nal: Buffer) {
    const escaped = nal.subarray(1, 256);
    this.#bytes = Buffer.from(
      escaped.filter((byte, at) => byte !== 3 || escaped[at - 1] !== 0 || escaped[at - 2] !== 0),
    );
  }

  read(count: number): number {
    let value = 0;
    for (let left = count; left > 0; left -= 1, this.#at += 1) {
      value = value * 2 + (((this.#bytes[this.#at >> 3] ?? 0) >> (7 - (this.#at & 7))) & 1);
    }
    return value;
  }

  /** ue(v) and, for what is only skipped, se(v) (9.1). */
  golomb(): number {
    let zeros = 0;
    while (zeros < 32 && this.read(1) === 0) zeros += 1;
    return 2 ** zeros - 1 + this.read(zeros);
  }
}

/** Profiles whose sequence parameter sets begin with their chroma format (7.3.2.1.1). */
const WITH_CHROMA = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/** How wide frame_num is; undefined where frames may be missing on purpose, or what comes before it is not known. */
function widthOf(nal: Buffer): number | undefined {
  const bits = new Bits(nal);
  const profile = bits.read(8);
  bits.read(16);
  bits.golomb();
  if (WITH_CHROMA.includes(profile)) {
    if (bits.golomb() === 3) return undefined;
    bits.golomb();
    bits.golomb();
    bits.read(1);
    if (bits.read(1) === 1) return undefined;
  }
  const width = bits.golomb() + 4;
  const orderType = bits.golomb();
  if (orderType === 1 || width > 16) return undefined;
  if (orderType === 0) bits.golomb();
  bits.golomb();
  return bits.read(1) === 1 ? undefined : width;
}

/**
 * Notices that a picture which others build on has not come, by the numbers of an H.264 stream (7.4.3, frame_num): FFmpeg
 * puts another in its place, and what follows is smeared without a word.
 */
export class FrameNumbers {
  #width: number | undefined;
  #reference: number | undefined;

  /**
   * @param picture with start codes (Annex B); anything else is not looked at
   * @returns whether one that it builds on is missing
   */
  isGap(picture: Buffer): boolean {
    for (const nal of nalUnits(picture)) {
      const type = (nal[0] ?? 0) & 31;
      if (type === 7) this.#width = widthOf(nal);
      if (type !== 1 && type !== 5) continue;
      if (this.#width === undefined) return false;
      const bits = new Bits(nal);
      for (let field = 0; field < 3; field += 1) bits.golomb();
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

const START = Buffer.from([0, 0, 1]);

function* nalUnits(picture: Buffer): Generator<Buffer> {
  for (let at = picture.indexOf(START); at >= 0; ) {
    const begin = at + START.length;
    const type = (picture[begin] ?? 0) & 31;
    // Where the first slice ends is of no interest, and looking for it would cost most.
    at = type === 1 || type === 5 ? -1 : picture.indexOf(START, begin);
    yield picture.subarray(begin, at < 0 ? undefined : at);
  }
}
