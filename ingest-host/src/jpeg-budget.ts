/** Choosing quality and size so that JPEGs stay within a byte budget, steadily. Pure arithmetic. */

/** Coarsest quantizer used before the picture is made smaller; below it blocks show. */
const MAX_QUANTIZER = 12;
/** Sizes tried, as parts of the original's sides. */
const SCALES = [1, 0.75, 0.5, 0.375, 0.25, 0.125];
/** A finer setting is tried only once so many pictures in a row would have fitted into it... */
const PATIENCE = 50;
/** ...with this much of the budget to spare. */
const HEADROOM = 0.8;

export interface JpegSetting {
  /** FFmpeg's quantizer scale, 1 (finest) .. 31: the divisors of MPEG-1's intra matrix, times it, over 8. */
  quantizer: number;
  /** Part of the original's sides, 0..1. */
  scale: number;
}

/** FFmpeg's quantizer whose divisors come closest to those of libjpeg at `quality`, 1..100. */
export function quantizerOf(quality: number): number {
  // libjpeg scales its tables by this percentage (jcparam.c, jpeg_quality_scaling).
  const percentage = quality < 50 ? 5000 / quality : 200 - 2 * quality;
  return Math.min(31, Math.max(1, Math.round(percentage / 15)));
}

/** Even sides, as 4:2:0 wants them, at least 2. */
export function scaledSize(width: number, height: number, scale: number): { width: number; height: number } {
  const even = (side: number) => Math.max(2, 2 * Math.round((side * scale) / 2));
  return { width: even(width), height: even(height) };
}

/**
 * Goes to a coarser setting as soon as a JPEG is too large, and back to a finer one only after a long run of small
 * ones: quality follows the scene without going up and down with every picture.
 */
export class JpegBudget {
  readonly #maxBytes: number;
  readonly #settings: JpegSetting[];
  #index = 0;
  #roomy = 0;

  constructor(maxBytes: number, quality: number) {
    this.#maxBytes = maxBytes;
    this.#settings = settingsFrom(quantizerOf(quality));
  }

  get setting(): JpegSetting {
    return this.#settings[this.#index] ?? { quantizer: MAX_QUANTIZER, scale: 1 };
  }

  /**
   * @param bytes size of a JPEG made with the current setting
   * @returns `too-large`: make it again with the setting that is current now; `impossible`: there is no coarser one
   */
  check(bytes: number): 'fits' | 'too-large' | 'impossible' {
    if (bytes > this.#maxBytes) {
      this.#roomy = 0;
      if (this.#index === this.#settings.length - 1) return 'impossible';
      this.#index += 1;
      return 'too-large';
    }
    const finer = this.#settings[this.#index - 1];
    const grown = finer ? bytes * growth(finer, this.setting) : Number.POSITIVE_INFINITY;
    this.#roomy = grown < this.#maxBytes * HEADROOM ? this.#roomy + 1 : 0;
    if (this.#roomy >= PATIENCE) {
      this.#index -= 1;
      this.#roomy = 0;
    }
    return 'fits';
  }
}

/** From the wanted quality down: coarser first, then smaller. */
function settingsFrom(finest: number): JpegSetting[] {
  const settings: JpegSetting[] = [];
  for (let quantizer = finest; quantizer < MAX_QUANTIZER; quantizer = Math.ceil(quantizer * 1.25)) {
    settings.push({ quantizer, scale: 1 });
  }
  const coarsest = Math.max(finest, MAX_QUANTIZER);
  return [...settings, ...SCALES.map((scale) => ({ quantizer: coarsest, scale }))];
}

/** How much larger a JPEG gets, roughly: bytes go with the area, and inversely with the quantizer. */
function growth(finer: JpegSetting, coarser: JpegSetting): number {
  return (coarser.quantizer / finer.quantizer) * (finer.scale / coarser.scale) ** 2;
}
