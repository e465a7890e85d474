import { basename } from 'node:path';
import { type Decision, decide } from './heads/decide.ts';
import { type Head, type HeadName, heads, type Preprocessing } from './heads/index.ts';
import { cpuShape, InferencePool } from './inference-pool.ts';
import { type InputSize, letterbox } from './letterbox.ts';
import { type ModelCard, pixelsOf, readCard } from './model-card.ts';
import { type ModelMetadata, readMetadata } from './model-metadata.ts';
import { giveUsualForm, type OutputForm } from './onnx/output-form.ts';
import { DataType, type ModelProto, type ValueInfoProto } from './onnx/schema.ts';
import { selectCandidates } from './onnx/select-candidates.ts';
import { StoredModel } from './onnx/stored-model.ts';
import { giveFloat32, imageInput, layoutOf, sizeOf, takeUint8Frames } from './onnx/uint8-input.ts';
import { type ProbeResult, probe } from './probe.ts';

/** A file that holds no model we can serve: says which, what is in it, and what would be served. */
export class UnsupportedModelError extends Error {
  override readonly name = 'UnsupportedModelError';
  /** What was found before it was refused. */
  readonly evidence: Partial<Evidence>;

  constructor(
    message: string,
    { evidence = {}, ...options }: ErrorOptions & { evidence?: Partial<Evidence> } = {},
  ) {
    super(message, options);
    this.evidence = evidence;
  }
}

/** What was found in a model. */
export interface Evidence {
  /** Name and sizes of each, as the file declares them. */
  inputs: readonly string[];
  outputs: readonly string[];
  metadata: ModelMetadata;
  card: ModelCard;
  /** Name and sizes of each output, as the model answered. */
  answered: readonly string[];
  /** What each family that may fit makes of the answers. */
  verdicts: Decision['verdicts'];
  /** Whether different pictures in a batch get the same answers as alone; absent where it was not tried. */
  keepsApart?: boolean;
}

/** A model, read and made ready for the runtime. */
export interface ModelFile {
  /** The file's name without `.onnx`. */
  name: string;
  /** Changes with the file's content. */
  version: string;
  path: string;
  /** Path of the model, changed to take uint8 frames, until {@link close}. */
  onnx: string;
  /** Path of the same, changed to choose that many candidates too; `undefined` where it can't. */
  selecting(most: number): Promise<string | undefined>;
  /** Its input for pictures: the name, and sizes that are fixed or named. */
  input: { name: string; shape: readonly (number | string)[] };
  /** What the file says of the model, as it stands there. */
  properties: Readonly<Record<string, string>>;
  /** Bytes of its weights. */
  weights: number;
  /** Whether it computes with int8. */
  isQuantised: boolean;
  /** Has loaded the model, on the CPU. */
  pool: InferencePool;
  /** What it answered there to made pictures. */
  proof: ProbeResult;
  evidence: Evidence;
  /** Removes what was written for runtimes to load. */
  close(): Promise<void>;
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
  /** Threads that will run it on a CPU; 0 means one a core. */
  threads?: number;
  /** Numbers of pictures that it is to take at once, ascending. */
  batchSizes?: readonly number[];
}

/**
 * Reads an ONNX file, puts the conversion from uint8 frames in front of it, and finds its family: by what its file and its
 * card say, by the sizes of its outputs, and by its answers to made pictures. A model whose answers can't be detections is
 * refused.
 * @throws UnsupportedModelError, ModelCardError
 */
export async function readModelFile(path: string, options: ReadOptions = {}): Promise<ModelFile> {
  // First: with a card that is wrong, nothing is written.
  const card = await readCard(path);
  const stored = await read(path);
  let pool: InferencePool | undefined;
  try {
    const { graph } = stored;
    const metadata = { ...readMetadata(graph.metadataProps), ...definedIn(card) };
    const names = options.names ?? metadata.names;
    const { input: inputs, output: outputs } = graph.graph;
    const found = { inputs: listed(inputs), outputs: listed(outputs), metadata, card };
    const refuse = (why: string, more: Partial<Evidence> = {}) =>
      unsupported(path, why, { ...found, ...more });
    const image = servableInput(graph, metadata, refuse);
    const { channels, shape } = layoutOf(image);
    const [batch, height, width] = channels === 1 ? shape.toSpliced(1, 1) : shape;
    const inputSize = inputSizeOf(height, width, metadata);
    const fixedBatch = typeof batch === 'number' ? batch : undefined;
    const size = letterbox(16, 9, inputSize);
    const cpu = cpuShape(stored.weights, options.threads ?? 1);

    const changed = (head: HeadName, form: OutputForm): ModelProto => {
      const fresh = stored.graph;
      const { anchors, preprocessing }: Head = heads[head];
      takeUint8Frames(fresh, pixelsOf(card, preprocessing));
      giveFloat32(fresh);
      if (anchors) giveUsualForm(fresh, anchors, form);
      return fresh;
    };
    /** Loads it, fed as a family wants its pictures, and asks it. */
    const ask = async (head: HeadName, form: OutputForm) => {
      await pool?.close();
      const onnx = await stored.write(changed(head, form));
      try {
        pool = await InferencePool.start({ onnx, providers: ['cpu'], threads: cpu.threads }, cpu.size);
        const { inputWidth, inputHeight } = size;
        const proof = await probe(pool, {
          ...{ batchSize: fixedBatch, width: inputWidth, height: inputHeight },
          batchSizes: options.batchSizes ?? [1],
        });
        return { onnx, pool, proof };
      } catch (cause) {
        throw new UnsupportedModelError(`${path}: the runtime can't run it: ${reasonOf(cause as Error)}`, {
          cause,
        });
      }
    };
    const facts = { ...size, classes: names?.length, endToEnd: metadata.endToEnd };
    /** Has it read as `named`, or by the one family that fits. */
    const recognise = async (fedAs: HeadName, named: HeadName | undefined, form: OutputForm = card) => {
      const asked = await ask(fedAs, form);
      const { head, refusal = '', verdicts } = decide(asked.proof.alone, facts, named);
      const answered = (asked.proof.alone[0] ?? []).map(({ name, dims }) => `${name} [${dims.join(', ')}]`);
      const evidence: Evidence = { ...found, answered, verdicts, ...asked.proof.batches };
      if (!head) throw refuse(form === card ? refusal + (await advice(verdicts)) : refusal, evidence);
      return { ...asked, head, evidence };
    };
    /** What a card might say of the outputs, tried before it is recommended. */
    const advice = async (verdicts: Decision['verdicts']): Promise<string> => {
      for (const { head, problem = '' } of verdicts) {
        const { anchors }: Head = heads[head];
        const forms = anchors ? FORMS.flatMap(([sign, ...forms]) => (sign.test(problem) ? forms : [])) : [];
        for (const form of forms) {
          const fits = await recognise(head, head, form).catch(() => undefined);
          const said = Object.entries({ family: head, ...form }).map(([key, value]) => `${key}: ${value}`);
          if (fits) return `; it is served with a card beside it that says { ${said.join(', ')} }`;
        }
      }
      return '';
    };
    const wanted = options.head ?? card.family;
    const pixels = (head: HeadName) => pixelsOf(card, heads[head].preprocessing);
    let asked = await recognise(wanted ?? 'yolov8', wanted);
    // Asked again, as the family wants its pictures.
    if (!card.input && pixels(asked.head) !== pixels(wanted ?? 'yolov8')) {
      asked = await recognise(asked.head, asked.head);
    }
    const { head } = asked;
    return {
      ...asked,
      name: basename(path).replace(/\.onnx$/, ''),
      version: stored.version,
      path,
      async selecting(most) {
        const { anchors }: Head = heads[head];
        const graph = changed(head, card);
        return anchors && selectCandidates(graph, anchors, most) ? stored.write(graph) : undefined;
      },
      input: { name: image.name, shape },
      properties: Object.fromEntries(graph.metadataProps.map(({ key, value }) => [key, value])),
      weights: stored.weights,
      isQuantised: graph.graph.node.some(({ opType }) => QUANTISED.includes(opType)),
      inputSize,
      fit: card.fit ?? heads[head].preprocessing.fit,
      // A model that mixes up the pictures of a batch gets them one by one.
      batchSize: fixedBatch ?? (asked.evidence.keepsApart === false ? 1 : undefined),
      classNames: names ?? [],
      metadata,
      close: () => stored.close(),
    };
  } catch (error) {
    await pool?.close();
    await stored.close();
    throw error;
  }
}

function definedIn({ names, iou }: ModelCard): Partial<ModelMetadata> {
  return { ...(names && { names }), ...(iou !== undefined && { iou }) };
}

/** The input for pictures. @throws UnsupportedModelError where there is none that can be fed, or the task is another */
function servableInput(
  model: ModelProto,
  { task }: ModelMetadata,
  refuse: (why: string) => UnsupportedModelError,
): ValueInfoProto {
  if (task !== undefined && !DETECTION.test(task)) {
    throw refuse(`its task is '${task}', and only detection is served`);
  }
  const image = imageInput(model);
  if (!image) throw refuse('it has not one input for pictures');
  const { elemType } = image.type.tensorType;
  const { shape } = layoutOf(image);
  if (shape.length !== 4 || (shape[1] !== 3 && shape[3] !== 3)) {
    throw refuse('its input is neither [N, 3, H, W] nor [N, H, W, 3], with or without N');
  }
  if (!FED_TYPES.includes(elemType)) {
    throw refuse('its input takes neither floats nor uint8; export it with one of them');
  }
  return image;
}
/** As exporters write it: Ultralytics, Hugging Face, others. */
const DETECTION = /^(object[-_ ]?)?detect(ion)?$/i;

/** What a reading's problem says of the output. */
const FORMS: [RegExp, ...OutputForm[]][] = [
  [/confidences go from/, { scores: 'logits' }],
  [/shares of the picture/, { boxes: 'centre-shares' }, { boxes: 'corner-shares' }],
  [/two corners/, { boxes: 'corners' }],
];
/** Operators of quantised models. */
const QUANTISED = ['QuantizeLinear', 'QLinearConv', 'ConvInteger', 'DynamicQuantizeLinear'];
const FED_TYPES: readonly number[] = [DataType.float32, DataType.float16, DataType.uint8];

/** What onnxruntime says, without the place in its own source that it says first. */
const reasonOf = ({ message }: Error) =>
  message.replace(/\s+/g, ' ').replace(/^\S*onnxruntime_src\S* .*?\)\s(?=[A-Z])/, '');

function read(path: string): Promise<StoredModel> {
  return StoredModel.read(path).catch((cause) => {
    // Of the system: the file, or the disk that its weights go to.
    const why = cause.code ? `can't read model ${path}: ` : `${path} is not an ONNX file: `;
    throw new UnsupportedModelError(why + cause.message, { cause });
  });
}

function inputSizeOf(
  height: number | string | undefined,
  width: number | string | undefined,
  metadata: ModelMetadata,
): InputSize {
  const [fixedHeight, fixedWidth] = [height, width].map((side) =>
    typeof side === 'number' ? side : undefined,
  );
  const either = fixedHeight ?? fixedWidth;
  // Where one side alone is fixed, the other is what the metadata says, or as long.
  if (either !== undefined) {
    const [saidHeight = either, saidWidth = either] = metadata.imgsz ?? [];
    return { kind: 'fixed', width: fixedWidth ?? saidWidth, height: fixedHeight ?? saidHeight };
  }
  const longest = Math.max(...(metadata.imgsz ?? [DEFAULT_SIDE]));
  return { kind: 'rectangle', longest, stride: metadata.stride ?? DEFAULT_STRIDE };
}

const listed = (values: readonly ValueInfoProto[]) =>
  values.map(({ name, type }) => {
    const sizes = type.tensorType.shape?.dim.map((dim) => sizeOf(dim, '?')) ?? [];
    return `${name} [${sizes.join(', ')}]`;
  });

function unsupported(path: string, why: string, evidence: Partial<Evidence>): UnsupportedModelError {
  const { inputs = [], outputs = [] } = evidence;
  return new UnsupportedModelError(
    `${path} is no model that can be served: ${why}. Inputs: ${inputs.join(', ')}; outputs: ${outputs.join(', ')}. ` +
      `Served are detection models of the families ${Object.keys(heads).join(', ')} with one image input; --head, --names ` +
      'or a card beside the file (model.yaml) say what the file does not.',
    { evidence },
  );
}
