/** Red, green, blue, each 0..255. */
export type Colour = readonly [number, number, number];

const BLACK: Colour = [0, 0, 0];
const WHITE: Colour = [255, 255, 255];

/** Steps of the golden angle never come close to an earlier hue, so that a few classes always look different. */
const GOLDEN_ANGLE = 137.508;
const SATURATION = 0.85;
const LIGHTNESS = 0.5;

/** The colour of a class: always the same one, unlike that of the classes near it. */
export function classColour(classId: number): Colour {
  return fromHsl((classId * GOLDEN_ANGLE) % 360, SATURATION, LIGHTNESS);
}

/** The colour of a track: always the same one, unrelated to that of the next track. */
export function trackColour(trackId: string): Colour {
  // FNV-1a, 32 bits: Fowler, Noll and Vo.
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(trackId)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return fromHsl(hash % 360, SATURATION, LIGHTNESS);
}

/** Black or white, whichever is easier to read on `background`. */
export function readableOn(background: Colour): Colour {
  const luminance = relativeLuminance(background);
  return contrast(luminance, 0) >= contrast(1, luminance) ? BLACK : WHITE;
}

/** WCAG 2.2 contrast ratio of a lighter and a darker luminance, 1..21. */
function contrast(lighter: number, darker: number): number {
  return (lighter + 0.05) / (darker + 0.05);
}

/** WCAG 2.2 relative luminance of an sRGB colour, 0..1. */
function relativeLuminance(colour: Colour): number {
  const [red, green, blue] = colour.map((part) => {
    const value = part / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** @param hue degrees; saturation and lightness 0..1 */
function fromHsl(hue: number, saturation: number, lightness: number): Colour {
  const reach = saturation * Math.min(lightness, 1 - lightness);
  const part = (shift: number) => {
    const turn = (shift + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(turn - 3, 9 - turn, 1))));
  };
  return [part(0), part(8), part(4)];
}
