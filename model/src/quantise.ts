import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { AssetError, cacheDir, folderOnce, makeFolder } from '@video-pipeline/assets';
import type { Detection } from '@video-pipeline/frame';
import { readPictureHeader } from '@video-pipeline/picture';
import type { PictureResult } from './detector.ts';
import { intersectionOverUnion } from './heads/index.ts';
import { letterbox } from './letterbox.ts';
import { loadDetector, openModel, optionsForTool, type ToolOptions } from './load-detector.ts';
import { cardPath } from './model-card.ts';
import type { ModelFile } from './model-file.ts';
import { decodePicture, frameBytes, layOut } from './picture.ts';
import { resizeLinear } from './resize.ts';

export interface QuantiseOptions extends ToolOptions {
  /** Folder of pictures that the model is calibrated on and compared with. */
  pictures: string;
  note(line: string): void;
}

type QuantiseCost = Awaited<ReturnType<typeof quantise>>;

/** onnxruntime's own quantisation (MIT), which needs ONNX's Python package (Apache-2.0). */
const PACKAGES = ['onnxruntime==1.30.0', 'onnx==1.23.2', 'numpy==2.4.6'];
/** More pictures calibrate no better. */
const MAX_PICTURES = 200;
const run = promisify(execFile);

/**
 * Writes a model with its convolutions in int8 and compares it with the original. The new model accepts uint8 frames.
 * @throws Error when the folder has no pictures, or Python is missing
 */
export async function quantise(file: string, options: QuantiseOptions) {
  const { pictures: folder, note, maxPixels, output = file.replace(/(\.onnx)?$/, '-int8.onnx') } = options;
  const names = (await readdir(folder)).filter((name) => /\.(jpe?g|png|webp)$/i.test(name)).sort();
  if (names.length === 0) throw new Error(`${folder} holds no picture (JPEG, PNG, WebP)`);
  const pictures = await Promise.all(
    names.slice(0, MAX_PICTURES).map((name) => readFile(join(folder, name))),
  );
  const python = await installPython(note);
  const model = await openModel(file, { ...options, device: 'cpu', threads: 1 });
  const scratch = await mkdtemp(join(tmpdir(), 'quantise-'));
  try {
    await model.pool.close();
    const frames = await writeFrames(model, pictures, scratch, maxPixels);
    note(`calibrating on ${pictures.length} pictures`);
    await run(python, [join(import.meta.dirname, 'quantise.py'), model.onnx, frames, output]).catch(
      (cause) => {
        throw new Error(`onnxruntime can't quantise ${file}: ${cause.stderr.trim().split('\n').at(-1)}`, {
          cause,
        });
      },
    );
  } finally {
    await model.close();
    await rm(scratch, { recursive: true });
  }
  if (existsSync(cardPath(file))) await copyFile(cardPath(file), cardPath(output));
  note('comparing');
  const [before, after] = [
    await detectAll(file, pictures, options),
    await detectAll(output, pictures, options),
  ];
  return {
    output,
    pictures: pictures.length,
    ...compare(before.seen, after.seen),
    /** Time for one picture on one thread, milliseconds. */
    ms: { before: before.ms, after: after.ms },
  };
}

export function costReport(cost: QuantiseCost): string {
  const { output, pictures, before, after, both, boxes, scores, ms } = cost;
  return [
    `${output}: int8, calibrated on ${pictures} pictures`,
    `objects       ${before} before, ${after} after, ${both} the same`,
    `boxes         moved by ${boxes.median.toFixed(1)} pixels (median), at most ${boxes.max.toFixed(1)}`,
    `confidences   changed by ${scores.median.toFixed(3)} (median), at most ${scores.max.toFixed(3)}`,
    `a picture     ${ms.before.toFixed(1)} ms before, ${ms.after.toFixed(1)} ms after, on one thread`,
  ].join('\n');
}

/** Installs onnxruntime's own quantisation, once. @returns the Python that has it */
export async function installPython(note: (line: string) => void): Promise<string> {
  const packages = PACKAGES.join(', ');
  const key = createHash('sha256').update(packages).digest('hex').slice(0, 12);
  const folder = join(cacheDir(), `quantise-${key}`);
  const pythonOf = (environment: string) => join(environment, 'bin/python');
  await folderOnce(folder, packages, async (partial) => {
    note(`installing ${packages} from PyPI`);
    await makeFolder(cacheDir());
    try {
      await run('python3', ['-m', 'venv', partial]);
      await run(pythonOf(partial), ['-m', 'pip', 'install', '--quiet', ...PACKAGES]);
    } catch (cause) {
      const { stderr = '', message } = cause as Error & { stderr?: string };
      const why = stderr.trim().split('\n').at(-1) || message;
      throw new AssetError(`quantising needs Python 3.11 or newer with venv, and PyPI: ${why}`, { cause });
    }
    return undefined;
  });
  return pythonOf(folder);
}

/** Writes the pictures as input tensors of the model. @returns path of their list */
async function writeFrames(
  { inputSize, fit, batchSize = 1 }: ModelFile,
  pictures: readonly Buffer[],
  folder: string,
  maxPixels: number,
): Promise<string> {
  const list = [];
  for (const [index, bytes] of pictures.entries()) {
    const header = readPictureHeader(bytes, { maxPixels, limit: 'MAX_FRAME_PIXELS' });
    const place = (width: number, height: number) => letterbox(width, height, inputSize, fit);
    const picture = await decodePicture(bytes, header, { place, resize: 'opencv', scale: resizeLinear });
    const { inputHeight, inputWidth } = picture.box;
    const frames = new Uint8Array(batchSize * frameBytes(picture.box));
    layOut(Array(batchSize).fill(picture), frames);
    const file = join(folder, `${index}.frames`);
    await writeFile(file, frames);
    list.push({ file, dims: [batchSize, inputHeight, inputWidth, 3] });
  }
  const path = join(folder, 'frames.json');
  await writeFile(path, JSON.stringify(list));
  return path;
}

async function detectAll(file: string, pictures: readonly Buffer[], options: QuantiseOptions) {
  const { head, names, confidence: threshold, maxPixels } = options;
  let milliseconds = 0;
  const detector = await loadDetector(file, {
    ...(head && { head }),
    ...(names && { names }),
    ...optionsForTool(maxPixels, (step, seconds) => {
      if (step === 'inference') milliseconds += 1000 * seconds;
    }),
  });
  try {
    const { signal } = new AbortController();
    const seen = await detector.detect({ pictures, threshold, client: 'quantise', signal });
    return { seen, ms: milliseconds / pictures.length };
  } finally {
    await detector.close();
  }
}

/** Compares the detections of two models in the same pictures. */
export function compare(before: readonly PictureResult[], after: readonly PictureResult[]) {
  const objects = (result: PictureResult | undefined) =>
    result && 'detections' in result ? result.detections : [];
  const pairs = before.flatMap((result, picture) => {
    const remaining = [...objects(after[picture])];
    return objects(result).flatMap((one): [Detection, Detection][] => {
      const at = remaining.findIndex(
        ({ class_id, bbox }) => class_id === one.class_id && intersectionOverUnion(bbox, one.bbox) > 0.5,
      );
      return at < 0 ? [] : [[one, remaining.splice(at, 1)[0] as Detection]];
    });
  });
  const count = (results: readonly PictureResult[]) =>
    results.reduce((sum, one) => sum + objects(one).length, 0);
  const moved = pairs.map(([a, b]) =>
    Math.max(...a.bbox.map((side, at) => Math.abs(side - (b.bbox[at] ?? 0)))),
  );
  const changed = pairs.map(([a, b]) => Math.abs(a.confidence - b.confidence));
  return {
    /** Objects of each model, and of both: same class, and an overlap above 0.5. */
    ...{ before: count(before), after: count(after), both: pairs.length },
    /** How far the sides of boxes moved, pixels of the picture. */
    boxes: spread(moved),
    /** How much confidences changed. */
    scores: spread(changed),
  };
}

function spread(values: readonly number[]): { median: number; max: number } {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: sorted[Math.floor(sorted.length / 2)] ?? 0, max: sorted.at(-1) ?? 0 };
}
