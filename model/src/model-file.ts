import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { decide } from './heads/decide.ts';
import { type Head, type HeadName, heads, type Preprocessing } from './heads/index.ts';
import { type InputSize, letterbox } from './letterbox.ts';
import { type ModelCard, pixelsOf, readCard } from './model-card.ts';
import { type ModelMetadata, readMetadata } from './model-metadata.ts';
import { takeExternalData } from './onnx/external-data.ts';
import { DataType, decodeModel, encodeModel, type ModelProto, type ValueInfoProto } from './onnx/schema.ts';
import { selectCandidates } from './onnx/select-candidates.ts';
import { giveFloat32, imageInput, layoutOf, takeUint8Frames } from './onnx/uint8-input.ts';
import { probe } from './probe.ts';

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
  /** The same, changed to choose that many candidates too; `undefined` where it can't. */
  selecting(most: number): Uint8Array | undefined;
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

export interface ReadOptions {
  /** The family, when it is not to be recognised. */
  head?: HeadName | undefined;
  /** Names of the classes, for a model that does not name them. */
  names?: readonly string[] | undefined;
}

/**
 * Reads an ONNX file, puts the conversion from uint8 frames in front of it, and finds its family: by what its file and its
 * card say, by the sizes of its outputs, and by its answers to made pictures. A model whose answers can't be detections is
 * refused.
 * @throws UnsupportedModelError, ModelCardError
 */
export async function readModelFile(path: string, options: ReadOptions = {}): Promise<ModelFile> {
  const [{ bytes, model, version }, card] = await Promise.all([read(path), readCard(path)]);
  const metadata = { ...readMetadata(model.metadataProps), ...definedIn(card) };
  const names = options.names ?? metadata.names;
  const image = servableInput(path, model, metadata);
  const { channels, shape } = layoutOf(image);
  const [batch, height, width] = channels === 1 ? shape.toSpliced(1, 1) : shape;
  const inputSize = inputSizeOf(height, width, metadata);
  const fixedBatch = typeof batch === 'number' ? batch : undefined;

  const wanted = options.head ?? card.family;
  const prepare = (head: HeadName): Uint8Array => {
    const fresh = decodeModel(bytes);
    takeUint8Frames(fresh, pixelsOf(card, heads[head].preprocessing));
    giveFloat32(fresh);
    return encodeModel(fresh);
  };
  const size = letterbox(16, 9, inputSize);
  const ask = (onnx: Uint8Array) =>
    probe({ onnx, batchSize: fixedBatch, width: size.inputWidth, height: size.inputHeight }).catch(
      (cause) => {
        throw new UnsupportedModelError(`${path}: the runtime can't run it: ${reasonOf(cause)}`, { cause });
      },
    );
  const facts = { ...size, classes: names?.length, endToEnd: metadata.endToEnd };
  let onnx = prepare(wanted ?? 'yolov8');
  let answers = await ask(onnx);
  let verdict = decide(answers.alone, facts, wanted);
  if ('refusal' in verdict) throw unsupported(path, model, verdict.refusal);
  const normalisation = pixelsOf(card, heads[verdict.head].preprocessing);
  if (normalisation !== pixelsOf(card, heads[wanted ?? 'yolov8'].preprocessing) && !card.input) {
    // Asked again, as the family wants its pictures.
    onnx = prepare(verdict.head);
    answers = await ask(onnx);
    verdict = decide(answers.alone, facts, verdict.head);
    if ('refusal' in verdict) throw unsupported(path, model, verdict.refusal);
  }
  const { head: family } = verdict;
  return {
    name: basename(path).replace(/\.onnx$/, ''),
    version,
    path,
    onnx,
    selecting(most) {
      const { anchors }: Head = heads[family];
      const copy = decodeModel(onnx);
      return anchors && selectCandidates(copy, anchors, most) ? encodeModel(copy) : undefined;
    },
    head: family,
    inputSize,
    fit: card.fit ?? heads[verdict.head].preprocessing.fit,
    // A model that mixes up the pictures of a batch gets them one by one.
    batchSize: fixedBatch ?? (answers.batches ? undefined : 1),
    classNames: names ?? [],
    metadata,
  };
}

function definedIn({ names, iou }: ModelCard): Partial<ModelMetadata> {
  return { ...(names && { names }), ...(iou !== undefined && { iou }) };
}

/** The input for pictures. @throws UnsupportedModelError where there is none that can be fed, or the task is another */
function servableInput(path: string, model: ModelProto, { task }: ModelMetadata): ValueInfoProto {
  if (task !== undefined && task !== 'detect') {
    throw unsupported(path, model, `its task is '${task}', and only detection is served`);
  }
  const image = imageInput(model);
  if (!image) throw unsupported(path, model, 'it has not one input for pictures');
  const { elemType } = image.type.tensorType;
  const { shape } = layoutOf(image);
  if (shape.length !== 4 || (shape[1] !== 3 && shape[3] !== 3)) {
    throw unsupported(path, model, 'its input is neither [N, 3, H, W] nor [N, H, W, 3]');
  }
  if (!FED_TYPES.includes(elemType)) {
    throw unsupported(path, model, 'its input takes neither floats nor uint8; export it with one of them');
  }
  return image;
}
const FED_TYPES: readonly number[] = [DataType.float32, DataType.float16, DataType.uint8];

/** What onnxruntime says, without the place in its own source that it says first. */
const reasonOf = ({ message }: Error) =>
  message.replace(/\s+/g, ' ').replace(/^\S*onnxruntime_src\S* .*?\)\s(?=[A-Z])/, '');

async function read(path: string): Promise<{ bytes: Uint8Array; model: ModelProto; version: string }> {
  const file = await readFile(path).catch((cause) => {
    throw new UnsupportedModelError(`can't read model ${path}: ${cause.message}`, { cause });
  });
  try {
    const model = decodeModel(file);
    if (!model.graph?.node?.length) throw new Error('it has no graph');
    const hash = createHash('sha256').update(file);
    const isWhole = await takeExternalData(model, dirname(path), (bytes) => void hash.update(bytes));
    const version = hash.digest('hex').slice(0, 12);
    return { bytes: isWhole ? file : encodeModel(model), model, version };
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

function unsupported(path: string, model: ModelProto, why: string): UnsupportedModelError {
  const list = (values: ValueInfoProto[]) =>
    values.map((value) => `${value.name} [${layoutOf(value).shape.join(', ')}]`).join(', ');
  return new UnsupportedModelError(
    `${path} is no model that can be served: ${why}. Inputs: ${list(model.graph.input)}; outputs: ` +
      `${list(model.graph.output)}. Served are detection models of the families ${Object.keys(heads).join(', ')} with one ` +
      'image input; --head, --names or a card beside the file (model.yaml) say what the file does not.',
  );
}
