import type { Detection } from '@video-pipeline/frame';
import { z } from 'zod';

/** An object's colours: a histogram of its upper half and one of its lower half, as numbers of 0..255. */
export const appearanceSchema = z.array(z.number());
export type Appearance = z.infer<typeof appearanceSchema>;

/** Interleaved RGB, 8 bits a channel. */
export interface RgbPixels {
  width: number;
  height: number;
  data: Uint8Array;
}

/** Bins of a stripe: twelve hues for coloured pixels, four greys for the others. */
const HUES = 12;
const GREYS = 4;
/** The middle of the box, as shares of it: upper and lower clothing, with little background. */
const STRIPES = [
  [0.18, 0.5],
  [0.52, 0.9],
] as const;
const SIDES = [0.25, 0.75] as const;
/** Number of sampled pixels in each direction of a stripe. */
const STEPS = 16;
/** Limits of saturation and brightness below which a pixel's hue is unreliable. */
const GREY_BELOW = 0.1;
const HUE_FROM = 0.35;
const DARK_BELOW = 60;
/** Weight of the newest sighting. */
const NEW_SHARE = 0.15;

/**
 * Samples the colours of an object. The cost is the same for a box of any size.
 * @param bbox pixels of the picture
 */
export function appearanceOf(picture: RgbPixels, [x1, y1, x2, y2]: Detection['bbox']): Appearance {
  return STRIPES.flatMap(([top, bottom]) => {
    const bins = new Array<number>(HUES + GREYS).fill(0);
    for (let row = 0; row < STEPS; row++) {
      const y = Math.floor(y1 + (y2 - y1) * along([top, bottom], row));
      for (let column = 0; column < STEPS; column++) {
        const x = Math.floor(x1 + (x2 - x1) * along(SIDES, column));
        const within = x >= 0 && y >= 0 && x < picture.width && y < picture.height;
        if (within) addPixel(bins, picture.data, (y * picture.width + x) * 3);
      }
    }
    const all = bins.reduce((sum, count) => sum + count, 0) || 1;
    return bins.map((count) => Math.round((255 * count) / all));
  });
}

function along([from, to]: readonly [number, number], step: number): number {
  return from + ((to - from) * (step + 0.5)) / STEPS;
}

/** Adds a pixel to the hues by its saturation, and to the greys for the rest. */
function addPixel(bins: number[], data: Uint8Array, at: number): void {
  const [r, g, b] = [data[at] ?? 0, data[at + 1] ?? 0, data[at + 2] ?? 0];
  const max = Math.max(r, g, b);
  const chroma = max - Math.min(r, g, b);
  const saturation = chroma / Math.max(1, max);
  const colourful = clamp((saturation - GREY_BELOW) / (HUE_FROM - GREY_BELOW)) * clamp(max / DARK_BELOW);
  const grey = HUES + Math.min(GREYS - 1, Math.max(0, (max / 256) * GREYS - 0.5));
  spread(bins, grey, Math.min(HUES + GREYS - 1, Math.floor(grey) + 1), 1 - colourful);
  if (colourful === 0) return;
  const sextant =
    max === r ? ((g - b) / chroma + 6) % 6 : max === g ? (b - r) / chroma + 2 : (r - g) / chroma + 4;
  const hue = ((sextant / 6) * HUES) % HUES;
  spread(bins, hue, (Math.floor(hue) + 1) % HUES, colourful);
}

/** Splits a pixel between two bins, so that slightly more light doesn't move a whole colour to another bin. */
function spread(bins: number[], place: number, next: number, weight: number): void {
  const low = Math.floor(place);
  const share = place - low;
  bins[low] = (bins[low] ?? 0) + weight * (1 - share);
  bins[next] = (bins[next] ?? 0) + weight * share;
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}

/** The colours of an object after one more sighting. */
export function blend(before: Appearance | undefined, now: Appearance): Appearance {
  return before ? before.map((bin, index) => Math.round(bin + NEW_SHARE * ((now[index] ?? 0) - bin))) : now;
}

/** Similarity of two appearances, 0..1: the Bhattacharyya coefficient. */
export function likeness(one: Appearance, other: Appearance): number {
  let [shared, ones, others] = [0, 0, 0];
  for (const [index, a] of one.entries()) {
    const b = other[index] ?? 0;
    shared += Math.sqrt(a * b);
    ones += a;
    others += b;
  }
  return ones > 0 && others > 0 ? shared / Math.sqrt(ones * others) : 0;
}
