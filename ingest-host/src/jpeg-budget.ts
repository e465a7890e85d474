/** Coarsest quantizer. Blocks are visible beyond it: the picture is made smaller instead. */
const MAX_QUANTIZER = 12;
/** Sizes that are tried, as shares of the original's sides. */
const SCALES = [1, 0.75, 0.5, 0.375, 0.25, 0.125];
/** A finer setting is tried only after this many pictures in a row would have fitted into it... */
const PATIENCE = 50;
/** ...with this much of the budget to spare. */
const HEADROOM = 0.8;

interface JpegSetting {
  /** FFmpeg's quantizer scale, 1 (finest) .. 31: the divisors of MPEG-1's intra matrix, times it, over 8. */
  quantizer: number;
  /** Share of the original's sides, 0..1. */
  scale: number;
}

/** FFmpeg's quantizer whose divisors come closest to those of libjpeg at `quality`, 1..100. */
export function quantizerOf(quality: number): number {
  // libjpeg scales its tables by this percentage (jcparam.c, jpeg_quality_scaling).
  const percentage = quality < 50 ? 5000 / quality : 200 - 2 * quality;
  return Math.min(31, Math.max(1, Math.round(percentage / 15)));
}

/** Scaled sides, even as 4:2:0 requires, at least 2. */
export function scaledSize(width: number, height: number, scale: number): { width: number; height: number } {
  const even = (side: number) => Math.max(2, 2 * Math.round((side * scale) / 2));
  return { width: even(width), height: even(height) };
}

/**
 * Chooses a coarser setting as soon as a JPEG is too large. It returns to a finer one only after a long run of small
 * JPEGs. So quality follows the scene and does not change with every picture.
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
   * @returns `too-large`: encode again with the new current setting; `impossible`: there is no coarser setting
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

/** All settings from the wanted quality down: first coarser, then smaller. */
function settingsFrom(finest: number): JpegSetting[] {
  const settings: JpegSetting[] = [];
  for (let quantizer = finest; quantizer < MAX_QUANTIZER; quantizer = Math.ceil(quantizer * 1.25)) {
    settings.push({ quantizer, scale: 1 });
  }
  const coarsest = Math.max(finest, MAX_QUANTIZER);
  return [...settings, ...SCALES.map((scale) => ({ quantizer: coarsest, scale }))];
}

/** Estimated growth of a JPEG: its bytes are proportional to the area, and inversely to the quantizer. */
function growth(finer: JpegSetting, coarser: JpegSetting): number {
  return (coarser.quantizer / finer.quantizer) * (finer.scale / coarser.scale) ** 2;
}
