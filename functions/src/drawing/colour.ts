import { classHue, LIGHTNESS, SATURATION, trackHue } from '@video-pipeline/frame/hues';

/** Red, green, blue, each 0..255. */
export type Colour = readonly [number, number, number];

const BLACK: Colour = [0, 0, 0];
const WHITE: Colour = [255, 255, 255];

export function classColour(classId: number): Colour {
  return fromHue(classHue(classId));
}

export function trackColour(trackId: string): Colour {
  return fromHue(trackHue(trackId));
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

/** @param hue degrees */
function fromHue(hue: number): Colour {
  const [saturation, lightness] = [SATURATION / 100, LIGHTNESS / 100];
  const reach = saturation * Math.min(lightness, 1 - lightness);
  const part = (shift: number) => {
    const turn = (shift + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(turn - 3, 9 - turn, 1))));
  };
  return [part(0), part(8), part(4)];
}
