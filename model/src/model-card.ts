import type { Document } from 'yaml';
import { z } from 'zod';
import { type HeadName, heads, type Preprocessing } from './heads/index.ts';
import { MAX_KEYPOINTS, MAX_SIDE, MIN_SIDE, type ModelMetadata, TASK_NAMES } from './model-metadata.ts';
import { boxForms } from './onnx/output-form.ts';
import type { PixelForm } from './onnx/uint8-input.ts';
import { openFile } from './open-file.ts';

const side = z.int().min(MIN_SIDE).max(MAX_SIDE);
const three = z.tuple([z.number(), z.number(), z.number()]);

/** A model card: facts about a model that its file does not contain. All fields are optional. */
const cardSchema = z.strictObject({
  /** Name of the family, as for `--head`. */
  family: z.enum(Object.keys(heads) as [HeadName, ...HeadName[]]).optional(),
  /** What the model does, as Ultralytics names it. */
  task: z.enum(TASK_NAMES).optional(),
  /** How many key points an object of a pose model has, and how many values a key point: x, y and confidence. */
  keypoints: z.tuple([z.int().min(1).max(MAX_KEYPOINTS), z.union([z.literal(2), z.literal(3)])]).optional(),
  /** The classes, in their order. */
  names: z.array(z.string()).max(10_000).optional(),
  input: z
    .strictObject({
      /** Values of a black and of a white pixel, before mean and deviation are applied. */
      range: z.enum(['0..1', '0..255']).default('0..1'),
      channels: z.enum(['rgb', 'bgr']).default('rgb'),
      /** Subtracted from each channel, in the order of `channels`. */
      mean: three.default([0, 0, 0]),
      /** Divisor of each channel, after the mean is subtracted. */
      deviation: three
        .refine((values) => values.every((value) => value > 0), 'must be over 0')
        .default([1, 1, 1]),
    })
    .optional(),
  /** `centre`: grey bars around the picture. `corner`: only right and below. `stretch`: no bars, sides stretched. */
  fit: z.enum(['centre', 'corner', 'stretch']).optional(),
  /** `[height, width]` of the input, pixels, where the file leaves it open. */
  imgsz: z.tuple([side, side]).optional(),
  /** Overlap above which the weaker of two boxes is dropped, 0..1. */
  iou: z.number().gt(0).max(1).optional(),
  /** Form of the scores, for families whose graph can be changed. `logits`: the graph has no sigmoid at its end. */
  scores: z.enum(['shares', 'logits']).optional(),
  /** Form of the boxes, for the same families: those with `anchors` or `corners`. */
  boxes: z.enum(boxForms).optional(),
  /** Threshold by class name, 0..1. It replaces the threshold of the request. */
  confidence: z.record(z.string(), z.number().min(0).max(1)).optional(),
  licence: z.string().optional(),
});
export type ModelCard = z.output<typeof cardSchema>;

/** Largest card: ten thousand names are half of it. Bytes. */
const MAX_BYTES = 500_000;

/** A model card that can't be read. The message names file, field and reason. */
export class ModelCardError extends Error {
  override readonly name = 'ModelCardError';
}

/** Path of a model's card: `yard.yaml` beside `yard.onnx`. */
export const cardPath = (modelPath: string) => modelPath.replace(/(\.onnx)?$/, '.yaml');

/** Reads the card of a model. No file means an empty card. @throws ModelCardError */
export async function readCard(modelPath: string): Promise<ModelCard> {
  const path = cardPath(modelPath);
  const text = await readText(path).catch((cause) => {
    if (cause.code === 'ENOENT') return undefined;
    throw new ModelCardError(`can't read ${path}: ${cause.message}`, { cause });
  });
  if (text === undefined) return {};
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { prettyErrors: false });
  const [syntax] = document.errors;
  if (syntax) throw new ModelCardError(`${path} is not YAML: ${syntax.message}`);
  const { data, error } = cardSchema.safeParse(valuesOf(document, path) ?? {});
  if (data) return data;
  const problems = error.issues.map(({ path: field, message }) => `'${field.join('.')}' ${message}`);
  throw new ModelCardError(`${path}: ${problems.join('; ')}`);
}

async function readText(path: string): Promise<string> {
  await using file = await openFile(path);
  const { size } = await file.stat();
  if (size > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`);
  return await file.readFile('utf8');
}

function valuesOf(document: Document, path: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    throw new ModelCardError(`${path}: a card has no aliases (*name); write the values themselves`, {
      cause,
    });
  }
}

/** The pixel form of the card; without `input` in the card, that of the family. */
export function pixelsOf(card: ModelCard, family: Preprocessing): PixelForm | Preprocessing['normalisation'] {
  if (!card.input) return family.normalisation;
  const { range, channels, mean, deviation } = card.input;
  const white = range === '0..1' ? 255 : 1;
  return {
    isBgr: channels === 'bgr',
    scale: deviation.map((one) => 1 / (white * one)),
    offset: mean.map((one, channel) => -one / (deviation[channel] ?? 1)),
  };
}

/** The parts of a card that replace those of the file's metadata. */
export function metadataOf({ names, imgsz, iou, task, keypoints }: ModelCard): Partial<ModelMetadata> {
  return {
    ...(names && { names }),
    ...(imgsz && { imgsz }),
    ...(iou !== undefined && { iou }),
    ...(task && { task }),
    ...(keypoints && { keypoints }),
  };
}
