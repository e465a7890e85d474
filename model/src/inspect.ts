import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Detection } from '@video-pipeline/frame';
import sharp from 'sharp';
import { loadDetector, optionsForTool, type ToolOptions } from './load-detector.ts';
import { syntheticPictures } from './probe.ts';
import { type Evidence, UnsupportedModelError } from './unsupported-model.ts';

export interface InspectOptions extends ToolOptions {
  /** Picture that the detections are drawn on; default: a synthetic one. */
  picture?: string;
}

/** The facts about a model, and whether it can be served. */
interface Inspection extends Partial<Evidence> {
  file: string;
  /** The family as which the model is served; absent if it is refused. */
  head?: string;
  version?: string;
  /** Bytes of its weights. */
  weights?: number;
  /** The model's input for a picture of 16 to 9, pixels. */
  input?: string;
  refusal?: string;
  detections?: readonly Detection[];
  drawn?: string;
}

/** Batch sizes with which it is tried whether the model keeps the pictures of a batch apart. */
const BATCH_SIZES = [4];

/** Reads a model, recognises its family by its outputs, and draws its detections on a picture. */
export async function inspect(file: string, options: InspectOptions): Promise<Inspection> {
  try {
    const load = { ...options, ...optionsForTool(options.maxPixels), batchSizes: BATCH_SIZES };
    const detector = await loadDetector(file, load);
    try {
      const { head, version, weights, evidence, inputSize } = detector.model;
      const bytes = options.picture ? await readFile(options.picture) : await syntheticPicture();
      const { signal } = new AbortController();
      const [seen] = await detector.detect({
        ...{ pictures: [bytes], threshold: options.confidence, client: 'inspect', signal },
      });
      if (!seen || 'error' in seen) throw new Error(`${options.picture}: ${seen?.error}`);
      const drawn = options.output ?? `${basename(file, '.onnx')}-inspected.jpg`;
      await draw(bytes, seen, drawn);
      const input =
        inputSize.kind === 'fixed'
          ? `${inputSize.width} x ${inputSize.height}`
          : `up to ${inputSize.longest} pixels a side, multiples of ${inputSize.stride}`;
      return { file, head, version, weights, input, ...evidence, detections: seen.detections, drawn };
    } finally {
      await detector.close();
    }
  } catch (error) {
    if (!(error instanceof UnsupportedModelError)) throw error;
    return { file, ...error.evidence, refusal: error.message };
  }
}

export function report(inspection: Inspection): string {
  const { metadata, card, verdicts = [], keepsApart, detections, drawn, head, refusal } = inspection;
  const { names, ...facts } = metadata ?? {};
  const known = Object.entries({ ...facts, ...(names && { names: `${names.length} classes` }) });
  const apart = keepsApart ? 'pictures keep apart' : 'pictures mix: they are run one by one';
  const lines: [string, string | undefined][] = [
    ['file', inspection.version ? `${inspection.file}, version ${inspection.version}` : inspection.file],
    ['metadata', known.map(([key, value]) => `${key} ${value}`).join(', ') || 'none'],
    ['card', Object.keys(card ?? {}).length > 0 ? JSON.stringify(card) : 'none'],
    ['inputs', inspection.inputs?.join(', ')],
    ['outputs', inspection.outputs?.join(', ')],
    ['answered', inspection.answered?.join(', ')],
    ...verdicts.map(({ head: family, problem }): [string, string] => [
      `as ${family}`,
      problem ?? 'its outputs for synthetic pictures look like detections',
    ]),
    ['batches', keepsApart === undefined ? undefined : apart],
    ['fed', inspection.input],
    ['verdict', head ? `served as ${head} (--head ${head})` : `refused: ${refusal}`],
    ['seen', detections && `${detections.length} objects, drawn in ${drawn}`],
    ...(detections ?? []).map((one): [string, string] => [
      '',
      `${one.class_name} ${one.confidence} at ${one.bbox.map(Math.round).join(', ')}`,
    ]),
  ];
  return lines
    .filter(([, text]) => text)
    .map(([label, text]) => `${label.padEnd(20)}${text}`)
    .join('\n');
}

async function syntheticPicture(): Promise<Buffer> {
  const [width, height] = [1280, 720];
  const [, bars] = syntheticPictures(width, height);
  return sharp(bars, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

async function draw(
  bytes: Buffer,
  { width, height, detections }: { width: number; height: number; detections: readonly Detection[] },
  path: string,
): Promise<void> {
  const escapeXml = (text: string) => text.replace(/[<>&"]/g, (one) => `&#${one.charCodeAt(0)};`);
  const boxes = detections.map(({ bbox: [x1, y1, x2, y2], class_name, confidence }) => {
    const label = `${escapeXml(class_name)} ${confidence.toFixed(2)}`;
    return (
      `<rect x="${x1}" y="${y1}" width="${x2 - x1}" height="${y2 - y1}" fill="none" stroke="#f40" stroke-width="3"/>` +
      `<text x="${x1 + 4}" y="${Math.max(18, y1 - 5)}" font-family="sans-serif" font-size="18" fill="#f40">${label}</text>`
    );
  });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${boxes.join('')}</svg>`;
  // Safe here: the picture was decoded before, in one of the formats that a request may have.
  sharp.unblock({ operation: ['VipsForeignLoadSvg'] });
  await writeFile(
    path,
    await sharp(bytes)
      .autoOrient()
      .composite([{ input: Buffer.from(svg) }])
      .jpeg()
      .toBuffer(),
  );
}
