const ESCAPE = Buffer.from([0, 0, 3]);

/** Bits of a raw byte sequence payload, without its emulation prevention (ITU-T H.264, 7.3.1; H.265, 7.3.1.1). */
export class Bits {
  readonly #bytes: Buffer;
  #at = 0;

  /** @param header bytes of the NAL unit's header, which are skipped @param limit bytes that are read */
  constructor(nal: Buffer, header: number, limit = 64) {
    const escaped = nal.subarray(header, limit);
    const isEscape = (byte: number, at: number) =>
      byte === 3 && escaped[at - 1] === 0 && escaped[at - 2] === 0;
    this.#bytes = escaped.includes(ESCAPE)
      ? Buffer.from(escaped.filter((byte, at) => !isEscape(byte, at)))
      : escaped;
  }

  /** @throws RangeError past the end: a forged count must not make it read zeros there for long */
  read(count: number): number {
    if (this.#at + count > 8 * this.#bytes.length) throw new RangeError('it ends within its header');
    let value = 0;
    for (let remaining = count; remaining > 0; remaining -= 1, this.#at += 1) {
      value = value * 2 + (((this.#bytes[this.#at >> 3] ?? 0) >> (7 - (this.#at & 7))) & 1);
    }
    return value;
  }

  flag(): boolean {
    return this.read(1) === 1;
  }

  skip(count: number): void {
    this.#at += count;
  }

  /** ue(v) (H.264, 9.1). */
  golomb(): number {
    let zeros = 0;
    while (zeros < 32 && this.read(1) === 0) zeros += 1;
    return 2 ** zeros - 1 + this.read(zeros);
  }

  /** se(v) (H.264, 9.1.1). */
  signed(): number {
    const code = this.golomb();
    return code % 2 === 0 ? -code / 2 : (code + 1) / 2;
  }

  /** Skips ue(v) and se(v). */
  skipGolombs(count: number): void {
    for (let remaining = count; remaining > 0; remaining -= 1) this.golomb();
  }
}

/** @throws RangeError for a number that no stream has */
export function atMost(limit: number, value: number): number {
  if (value > limit) throw new RangeError(`${value} is over ${limit}`);
  return value;
}

/** Type of an H.265 NAL unit, from the first byte of its header (ITU-T H.265, 7.3.1.2). */
export const typeOfH265 = (header: number) => (header >> 1) & 63;
/** Whether it is a slice of a key frame (ITU-T H.265, table 7-1: IRAP). */
export const isKeyOfH265 = (type: number) => type >= 16 && type <= 23;

const START = Buffer.from([0, 0, 1]);
/** Pictures have far fewer units. A forged one with a million must not block the event loop. */
const MAX_UNITS = 1_000;

/**
 * NAL units of a coded picture with start codes (Annex B), until its first slice.
 * @param isSlice decides by the first byte. A slice's end is not needed, and its search would take most of the time.
 */
export function* nalUnits(picture: Buffer, isSlice: (header: number) => boolean): Generator<Buffer> {
  for (let [at, remaining] = [picture.indexOf(START), MAX_UNITS]; at >= 0 && remaining > 0; remaining -= 1) {
    const begin = at + START.length;
    at = isSlice(picture[begin] ?? 0) ? -1 : picture.indexOf(START, begin);
    yield picture.subarray(begin, at < 0 ? undefined : at);
  }
}

/**
 * State of a coded picture. `whole`: all its references are undamaged. `smeared`: one is not, but later pictures may be
 * undamaged. `broken`: all pictures until the next key frame are damaged.
 */
export type PictureState = 'whole' | 'smeared' | 'broken';

/** What was lost before a picture. */
export interface Loss {
  /** Lost packets. Each lost picture lost at least one of them. */
  packets: number;
  /** Whether a key frame certainly is among the lost pictures. */
  isKey: boolean;
}

/** Begins the user data of our mark. A UUID is expected there, which may be any 16 bytes (H.264, D.2.7). */
const LOSS_MARKER = Buffer.from('pictures are lost');
const MARK_END = LOSS_MARKER.length + 5;

/**
 * A mark of a loss, for the start of a coded picture: so the picture and its mark can't be separated on their way through
 * FFmpeg. It is a NAL unit of supplemental information (SEI, user_data_unregistered), which decoders ignore.
 */
export function lossMarkerOf({ packets, isKey }: Loss, codec: 'H264' | 'H265'): Buffer {
  // No byte is 0, so that no start code can arise.
  const digits = Array.from({ length: 4 }, (_, at) => 1 + ((Math.min(packets, 0xffff) >> (4 * at)) & 15));
  const payload = Buffer.from([...LOSS_MARKER, isKey ? 2 : 1, ...digits]);
  const header = codec === 'H264' ? [6] : [39 << 1, 1];
  return Buffer.concat([Buffer.from([...header, 5, payload.length]), payload, Buffer.from([0x80])]);
}

/** The loss before a coded picture that begins with a mark. */
export function lossBefore(picture: Buffer): Loss | undefined {
  const start = picture.subarray(0, 16 + MARK_END);
  const at = start.indexOf(LOSS_MARKER);
  if (at < 0 || start.length < at + MARK_END) return undefined;
  const [key, ...digits] = start.subarray(at + LOSS_MARKER.length, at + MARK_END);
  return { packets: digits.reduceRight((sum, digit) => 16 * sum + digit - 1, 0), isKey: key === 2 };
}
