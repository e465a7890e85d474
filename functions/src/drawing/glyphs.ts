import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { cached } from '@video-pipeline/storage';
import { type Font, parse } from 'opentype.js/dist/opentype.mjs';
import sharp from 'sharp';

/** The characters of a font at one size, drawn once. */
export interface Glyphs {
  /** Height of every character, pixels. */
  height: number;
  /** Coverage of all characters side by side, 0..255, `stride` bytes a row. */
  coverage: Buffer;
  stride: number;
  /** Where a character begins in a row of `coverage`, and how wide it is, pixels. */
  cells: ReadonlyMap<string, { x: number; width: number }>;
}

/** Drawn instead of a character that the font does not have. */
export const UNKNOWN = '?';

/** Most text sizes in memory. The largest needs 4 MB, and the senders of pictures decide how many sizes there are. */
const MAX_SIZES = 8;
const fontOnce = cached<Font, void>(loadFont, Number.POSITIVE_INFINITY);

/**
 * The glyphs of the label font, rendered at first use. Neither system fonts nor fontconfig are needed: Lambda has none.
 * @param size height of the em square, pixels
 */
export const loadGlyphs = cached(
  async (size: number) => render(await fontOnce(), size),
  Number.POSITIVE_INFINITY,
  MAX_SIZES,
);

// B612 is made for reading on screens. The file has the characters of ISO 8859-1.
async function loadFont(): Promise<Font> {
  const url = import.meta.resolve('@fontsource/b612/files/b612-latin-700-normal.woff');
  const bytes = await readFile(fileURLToPath(url));
  return parse(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** Draws every printable character that the font has into one row, as one SVG of outlines. */
async function render(font: Font, size: number): Promise<Glyphs> {
  const scale = size / font.unitsPerEm;
  const baseline = Math.ceil(font.ascender * scale);
  const height = baseline + Math.ceil(-font.descender * scale);
  const cells = new Map<string, { x: number; width: number }>();
  const outlines: string[] = [];
  let x = 0;
  for (const char of printable()) {
    const glyph = font.charToGlyph(char);
    if (glyph.index === 0) continue;
    const width = Math.ceil((glyph.advanceWidth ?? 0) * scale);
    outlines.push(glyph.getPath(x, baseline, size).toPathData(2));
    cells.set(char, { x, width });
    x += width;
  }
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${x}" height="${height}"><path d="${outlines.join('')}"/></svg>`;
  const coverage = await sharp(Buffer.from(svg)).extractChannel('alpha').raw().toBuffer();
  return { height, coverage, stride: x, cells };
}

/** The printable characters of ISO 8859-1. */
function printable(): string[] {
  const all = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code));
  return all.filter((char) => /\P{Cc}/u.test(char));
}
