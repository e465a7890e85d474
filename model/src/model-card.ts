import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { type HeadName, heads, type Preprocessing } from './heads/index.ts';
import { boxForms } from './onnx/output-form.ts';
import type { PixelForm } from './onnx/uint8-input.ts';

const three = z.tuple([z.number(), z.number(), z.number()]);

/** What may be said of a model beside its file: everything that the file itself can't say. All of it is optional. */
const cardSchema = z.strictObject({
  /** As `--head` takes it. */
  family: z.enum(Object.keys(heads) as [HeadName, ...HeadName[]]).optional(),
  /** The classes, in their order. */
  names: z.array(z.string()).max(10_000).optional(),
  input: z
    .strictObject({
      /** Values of a pixel that is black and one that is white, before mean and deviation. */
      range: z.enum(['0..1', '0..255']).default('0..1'),
      channels: z.enum(['rgb', 'bgr']).default('rgb'),
      /** Subtracted from each channel, in the order of `channels`. */
      mean: three.default([0, 0, 0]),
      /** What each channel is divided by then. */
      deviation: three
        .refine((values) => values.every((value) => value > 0), 'must be over 0')
        .default([1, 1, 1]),
    })
    .optional(),
  /** Grey bars around the picture, right and below it alone, or none, its sides stretched. */
  fit: z.enum(['centre', 'corner', 'stretch']).optional(),
  /** Overlap over which the weaker of two boxes is dropped, 0..1. */
  iou: z.number().gt(0).max(1).optional(),
  /** What the scores of a family with anchors are, where the sigmoid is left out: logits. */
  scores: z.enum(['shares', 'logits']).optional(),
  /** What the boxes of a family with anchors are. */
  boxes: z.enum(boxForms).optional(),
  /** Least confidence by the class's name, 0..1, where it is another one than a request asks for. */
  confidence: z.record(z.string(), z.number().min(0).max(1)).optional(),
  licence: z.string().optional(),
});
export type ModelCard = z.output<typeof cardSchema>;

/** A model card that can't be read; names file, field and reason. */
export class ModelCardError extends Error {
  override readonly name = 'ModelCardError';
}

/** The card beside a model: `yard.yaml` beside `yard.onnx`. Without one, an empty card. @throws ModelCardError */
export async function readCard(modelPath: string): Promise<ModelCard> {
  const path = modelPath.replace(/\.onnx$/, '.yaml');
  const text = await readFile(path, 'utf8').catch((error) => {
    if (error.code === 'ENOENT') return '{}';
    throw new ModelCardError(`can't read ${path}: ${error.message}`, { cause: error });
  });
  const document = parseDocument(text, { prettyErrors: false });
  const [syntax] = document.errors;
  if (syntax) throw new ModelCardError(`${path} is not YAML: ${syntax.message}`);
  const { data, error } = cardSchema.safeParse(document.toJS({ maxAliasCount: 0 }) ?? {});
  if (data) return data;
  const problems = error.issues.map(({ path: field, message }) => `'${field.join('.')}' ${message}`);
  throw new ModelCardError(`${path}: ${problems.join('; ')}`);
}

/** How the card wants pixels, or how the family does. */
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
