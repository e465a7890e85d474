// Not part of the package's main export: the console's page loads it, too.

/** The colours of all classes and tracks have this saturation and lightness, percent. */
export const SATURATION = 85;
export const LIGHTNESS = 50;

/** Steps of the golden angle never come close to an earlier hue, so that a few classes always look different. */
const GOLDEN_ANGLE = 137.508;

/**
 * The hue of a class, degrees: always the same one, far from the hues of the classes with the next numbers.
 * @example
 * [0, 1, 2].map(classHue).map(Math.round); // => [0, 138, 275]
 */
export function classHue(classId: number): number {
  return (classId * GOLDEN_ANGLE) % 360;
}

const utf8 = new TextEncoder();

/** FNV-1a, 32 bits: Fowler, Noll and Vo. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of utf8.encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** The hue of a track, degrees: always the same one, unrelated to that of the next track. */
export function trackHue(trackId: string): number {
  return hashOf(trackId) % 360;
}
