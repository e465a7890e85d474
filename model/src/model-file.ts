import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { type HeadName, heads, type Preprocessing } from './heads/index.ts';
import { type OutputShape, recogniseHead } from './heads/recognise.ts';
import type { InputSize } from './letterbox.ts';
import { type ModelMetadata, readMetadata } from './model-metadata.ts';
import { decodeModel, encodeModel, type ModelProto, type ValueInfoProto } from './onnx/schema.ts';
import { giveFloat32, imageInput, sizeOf, takeUint8Frames } from './onnx/uint8-input.ts';

/** A file that holds no model we can serve: says which, what is in it, and what would be served. */
export class UnsupportedModelError extends Error {
  override readonly name = 'UnsupportedModelError';
}

/** A model, read and made ready for the runtime. */
export interface ModelFile {
  /** The file's name without `.onnx`. */
  name: string;
  /** Changes with the file's content. */
  version: string;
  path: string;
  /** The ONNX file, changed to take uint8 frames. */
  onnx: Uint8Array;
  head: HeadName;
  inputSize: InputSize;
  fit: Preprocessing['fit'];
  /** Batch size the model is fixed to; `undefined` when it takes any. */
  batchSize: number | undefined;
  classNames: readonly string[];
  metadata: ModelMetadata;
}

/** Longest side of the input where neither the model's shape nor its metadata says it, pixels. */
const DEFAULT_SIDE = 640;
/** Coarsest stride of all supported families, pixels. */
const DEFAULT_STRIDE = 32;

/**
 * Reads an ONNX file, recognises its family and puts the conversion from uint8 frames in front of it.
 * @param head the family, when it is not to be recognised by the outputs' shapes
 * @throws UnsupportedModelError
 */
export async function readModelFile(path: string, head?: HeadName): Promise<ModelFile> {
  const { bytes, model } = await read(path);
  const metadata = readMetadata(model.metadataProps);
  const image = imageInput(model);
  const input = image && shapeOf(image).shape;
  const family = head ?? (input && recognise(model, input, metadata));
  const isDetection = metadata.task === undefined || metadata.task === 'detect';
  if (!family || input?.length !== 4 || input[1] !== 3 || !isDetection)
    throw unsupported(path, model, metadata);
  const { normalisation, fit } = heads[family].preprocessing;
  takeUint8Frames(model, normalisation);
  giveFloat32(model);
  const [batch, , height, width] = input;
  return {
    name: basename(path).replace(/\.onnx$/, ''),
    version: createHash('sha256').update(bytes).digest('hex').slice(0, 12),
    path,
    onnx: encodeModel(model),
    head: family,
    inputSize: inputSizeOf(height, width, metadata),
    fit,
    batchSize: typeof batch === 'number' ? batch : undefined,
    classNames: metadata.names ?? [],
    metadata,
  };
}

function recognise(model: ModelProto, input: OutputShape['shape'], metadata: ModelMetadata) {
  const [, , inputHeight, inputWidth] = input.map((size) => (typeof size === 'number' ? size : undefined));
  const outputs = model.graph.output.map(shapeOf);
  return recogniseHead({ outputs, inputWidth, inputHeight, classes: metadata.names?.length });
}

async function read(path: string): Promise<{ bytes: Uint8Array; model: ModelProto }> {
  const bytes = await readFile(path).catch((cause) => {
    throw new UnsupportedModelError(`can't read model ${path}: ${cause.message}`, { cause });
  });
  try {
    const model = decodeModel(bytes);
    if (!model.graph?.node?.length) throw new Error('it has no graph');
    return { bytes, model };
  } catch (cause) {
    throw new UnsupportedModelError(`${path} is not an ONNX file: ${(cause as Error).message}`, { cause });
  }
}

function inputSizeOf(
  height: number | string | undefined,
  width: number | string | undefined,
  metadata: ModelMetadata,
): InputSize {
  if (typeof height === 'number' && typeof width === 'number') return { kind: 'fixed', width, height };
  const longest = Math.max(...(metadata.imgsz ?? [DEFAULT_SIDE]));
  return { kind: 'rectangle', longest, stride: metadata.stride ?? DEFAULT_STRIDE };
}

function shapeOf({ name, type }: ValueInfoProto): OutputShape {
  const dims = type?.tensorType?.shape?.dim ?? [];
  return { name, shape: dims.map((dim) => sizeOf(dim, '?')) };
}

function unsupported(path: string, model: ModelProto, { task }: ModelMetadata): UnsupportedModelError {
  const list = (values: ValueInfoProto[]) =>
    values.map((value) => `${value.name} [${shapeOf(value).shape.join(', ')}]`).join(', ');
  return new UnsupportedModelError(
    `${path} is no model that can be served: inputs ${list(model.graph.input)}; outputs ` +
      `${list(model.graph.output)}${task ? `; task '${task}'` : ''}. Served are detection models of the families ` +
      `${Object.keys(heads).join(', ')} with one image input [N, 3, H, W]; --head names the family of one that is ` +
      'not recognised.',
  );
}
