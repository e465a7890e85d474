import { basename } from 'node:path';
import { advise, runtimeReason } from './advice.ts';
import { chooseHead, type HeadChoice } from './heads/choose-head.ts';
import { type Head, type HeadName, heads, type OutputTensor, type Preprocessing } from './heads/index.ts';
import { cpuShape, InferencePool } from './inference-pool.ts';
import { type InputSize, inputSizeOf, letterbox } from './letterbox.ts';
import { type ModelCard, metadataOf, pixelsOf, readCard } from './model-card.ts';
import { type ModelMetadata, readMetadata, TASK_NAMES, taskOf } from './model-metadata.ts';
import { giveUsualForm, type OutputForm } from './onnx/output-form.ts';
import { DataType, type ModelProto, type ValueInfoProto } from './onnx/schema.ts';
import { selectCandidates } from './onnx/select-candidates.ts';
import { type StoredModel, storeModel } from './onnx/stored-model.ts';
import { giveFloat32, imageInput, layoutOf, sizeOf, takeUint8Frames } from './onnx/uint8-input.ts';
import { probe } from './probe.ts';

/** A model that can't be served. The message names the file, its inputs and outputs, and the supported families. */
export class UnsupportedModelError extends Error {
  override readonly name = 'UnsupportedModelError';
  /** The facts found before the model was refused. */
  readonly evidence: Partial<Evidence>;

  constructor(
    message: string,
    { evidence = {}, ...options }: ErrorOptions & { evidence?: Partial<Evidence> } = {},
  ) {
    super(message, options);
    this.evidence = evidence;
  }
}

export interface Evidence {
  /** Name and sizes of each input and output, as the file declares them. */
  inputs: readonly string[];
  outputs: readonly string[];
  metadata: ModelMetadata;
  card: ModelCard;
  /** Name and sizes of each output in a real run. */
  answered: readonly string[];
  /** For each family that may fit: whether the outputs are plausible. */
  verdicts: HeadChoice['verdicts'];
  /** Whether pictures in a batch give the same outputs as alone; absent if that was not tried. */
  keepsApart?: boolean;
}

/** A model that is read and prepared for the runtime. */
export interface ModelFile {
  /** The file's name without `.onnx`. */
  name: string;
  /** Changes with the file's content. */
  version: string;
  path: string;
  /** Path of a copy that is changed to accept uint8 frames. It exists until {@link close}. */
  onnx: string;
  /** Path of a copy whose graph also chooses `most` candidates; `undefined` if that is impossible. */
  withSelection(limit: number): Promise<string | undefined>;
  /** The model's image input: its name and its sizes. A size is a number, or the name of a dynamic one. */
  input: { name: string; shape: readonly (number | string)[] };
  /** The metadata of the file, unchanged. */
  properties: Readonly<Record<string, string>>;
  /** Bytes of its weights. */
  weights: number;
  isQuantised: boolean;
  /** A pool on the CPU that has loaded the model. */
  pool: InferencePool;
  /** Name and sizes of each output in a real run. */
  outputs: readonly Omit<OutputTensor, 'data'>[];
  /** Time that recognising the family took, without loading the model once, seconds. */
  proofSeconds: number;
  evidence: Evidence;
  /** Removes the files that were written for the runtimes. */
  close(): Promise<void>;
  head: HeadName;
  inputSize: InputSize;
  fit: Preprocessing['fit'];
  /** Fixed batch size of the model; `undefined` if any size is allowed. */
  batchSize: number | undefined;
  classNames: readonly string[];
  metadata: ModelMetadata;
}

/** Most pixels of an input, of all pictures of a fixed batch: 1.6 GB as floats. */
const MAX_PIXELS = 2 ** 27;

export interface ReadOptions {
  /** The family; by default it is recognised. */
  head?: HeadName | undefined;
  /** Names of the classes, for a model that does not name them. */
  names?: readonly string[] | undefined;
  /** Threads that will run the model on a CPU; 0 means one for each core. */
  threads?: number;
  /** Batch sizes that the model must support, ascending. */
  batchSizes?: readonly number[];
  /** Called with each other file that weights are in, before it is read. */
  onWeights?: ((file: string) => Promise<void>) | undefined;
}

/**
 * Reads an ONNX file, adds the conversion from uint8 frames to its graph, and recognises its family. The family follows
 * from the file, its card, the sizes of the outputs, and the outputs for synthetic pictures. A model whose outputs
 * can't be detections is refused.
 * @throws UnsupportedModelError, ModelCardError
 */
export async function readModelFile(path: string, options: ReadOptions = {}): Promise<ModelFile> {
  // The card comes first: if it is wrong, no file has been written yet.
  const card = await readCard(path);
  const stored = await read(path, options);
  let pool: InferencePool | undefined;
  let loadMs = 0;
  try {
    const { graph } = stored;
    const metadata = { ...readMetadata(graph.metadataProps), ...metadataOf(card) };
    const names = options.names ?? metadata.names;
    const { input: inputs, output: outputs } = graph.graph;
    const found = { inputs: listed(inputs), outputs: listed(outputs), metadata, card };
    const refuse = (why: string, more: Partial<Evidence> = {}) =>
      unsupported(path, why, { ...found, ...more });
    const unknown = names && Object.keys(card.confidence ?? {}).find((name) => !names.includes(name));
    if (unknown !== undefined)
      throw refuse(`its card has a confidence for '${unknown}', which is none of its classes`);
    const wanted = options.head ?? card.family;
    const task = servableTask(metadata, wanted, refuse);
    const image = servableInput(graph, refuse);
    const { channels, shape } = layoutOf(image);
    const [batch, height, width] = channels === 1 ? shape.toSpliced(1, 1) : shape;
    const inputSize = inputSizeOf(height, width, metadata);
    const fixedBatch = typeof batch === 'number' ? batch : undefined;
    const size = letterbox(16, 9, inputSize);
    const pixelsAtOnce = (fixedBatch ?? 1) * size.inputWidth * size.inputHeight;
    if (pixelsAtOnce > MAX_PIXELS)
      throw refuse(
        `its input holds ${pixelsAtOnce} pixels, over ${MAX_PIXELS}: export it with a smaller one`,
      );
    const cpu = cpuShape(stored.weights, options.threads ?? 1);

    const pixels = (head: HeadName) => pixelsOf(card, heads[head].preprocessing);
    const changed = (head: HeadName, form: OutputForm): ModelProto => {
      const fresh = stored.graph;
      takeUint8Frames(fresh, pixels(head));
      giveFloat32(fresh);
      giveUsualForm(fresh, heads[head], form);
      return fresh;
    };
    /** Loads the model with the preprocessing of a family, and runs it on synthetic pictures. */
    const ask = async (head: HeadName, form: OutputForm) => {
      await pool?.close();
      const onnx = await stored.write(changed(head, form));
      try {
        const began = performance.now();
        pool = await InferencePool.start({ onnx, providers: ['cpu'], threads: cpu.threads }, cpu.size);
        loadMs = performance.now() - began;
        const { inputWidth, inputHeight } = size;
        const proof = await probe(pool, {
          ...{ batchSize: fixedBatch, width: inputWidth, height: inputHeight },
          batchSizes: options.batchSizes ?? [1],
        });
        return { onnx, pool, proof };
      } catch (cause) {
        const why = `${path}: the runtime can't run it: ${runtimeReason(cause as Error)}`;
        throw new UnsupportedModelError(why, { cause, evidence: found });
      }
    };
    const facts = {
      ...size,
      task,
      classes: names?.length,
      endToEnd: metadata.endToEnd,
      keypoints: metadata.keypoints,
    };
    /** Recognises the family from the outputs. With `named`, only that family is accepted. */
    const recognise = async (fedAs: HeadName, named: HeadName | undefined, form: OutputForm = card) => {
      // The outputs are large: they are not kept.
      const { proof, ...asked } = await ask(fedAs, form);
      const said = { ...facts, boxes: form.boxes };
      const { head, refusal = '', verdicts } = chooseHead(proof.alone, said, named);
      const outputs = (proof.alone[0] ?? []).map(({ name, dims }) => ({ name, dims }));
      const answered = outputs.map(({ name, dims }) => `${name} [${dims.join(', ')}]`);
      const evidence: Evidence = { ...found, answered, verdicts, ...proof.batches };
      const advice = head || form !== card ? '' : await advise(verdicts, formOf(card), problemAs);
      if (!head) throw refuse(refusal + advice, evidence);
      return { ...asked, head, evidence, outputs };
    };
    /** Why a family does not read the outputs in this form; `undefined` if it does. */
    const problemAs = (head: HeadName, form: OutputForm) =>
      recognise(head, head, form).then(
        () => undefined,
        ({ evidence }) => problemOf(evidence?.verdicts, head),
      );
    const began = performance.now();
    let asked = await recognise(wanted ?? 'yolov8', wanted);
    // The model runs again, now with the preprocessing of its family.
    if (!card.input && pixels(asked.head) !== pixels(wanted ?? 'yolov8')) {
      asked = await recognise(asked.head, asked.head);
    }
    const { head } = asked;
    return {
      ...asked,
      proofSeconds: (performance.now() - began - loadMs) / 1000,
      name: basename(path).replace(/\.onnx$/, ''),
      version: stored.version,
      path,
      async withSelection(limit) {
        const { anchors, task }: Head = heads[head];
        const graph = changed(head, card);
        return anchors && !task && selectCandidates(graph, anchors, limit) ? stored.write(graph) : undefined;
      },
      input: { name: image.name, shape },
      properties: Object.fromEntries(graph.metadataProps.map(({ key, value }) => [key, value])),
      weights: stored.weights,
      isQuantised: graph.graph.node.some(({ opType }) => QUANTISED.includes(opType)),
      inputSize,
      fit: card.fit ?? heads[head].preprocessing.fit,
      // A model that mixes the pictures of a batch gets batches of one picture.
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

type Refuse = (why: string) => UnsupportedModelError;

/** The task, if the metadata or a named family says it. @throws UnsupportedModelError when it can't be served */
function servableTask(
  { task: said, keypoints }: ModelMetadata,
  wanted: HeadName | undefined,
  refuse: Refuse,
) {
  const task = said === undefined ? wanted && (heads[wanted] as Head).task : taskOf(said);
  if (said !== undefined && !task)
    throw refuse(`its task is '${said}', and only these are served: ${TASK_NAMES.join(', ')}`);
  if (task === 'pose' && !keypoints)
    throw refuse(
      'its metadata has no kpt_shape: a card says how many key points it has, { keypoints: [17, 3] }',
    );
  return task;
}

/** The image input. @throws UnsupportedModelError when there is no usable one */
function servableInput(model: ModelProto, refuse: Refuse): ValueInfoProto {
  const strange = [...model.graph.input, ...model.graph.output].find(({ type }) => !type?.tensorType);
  if (strange) throw refuse(`'${strange.name}' is no tensor`);
  const image = imageInput(model);
  if (!image) throw refuse('it needs exactly one input for pictures');
  if (!image.type.tensorType.shape) throw refuse('its input states no shape; export it with [N, 3, H, W]');
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

const problemOf = (verdicts: HeadChoice['verdicts'] = [], head: HeadName) =>
  verdicts.find((one) => one.head === head)?.problem ?? '';
const formOf = ({ scores, boxes }: ModelCard): OutputForm => ({
  ...(scores && { scores }),
  ...(boxes && { boxes }),
});
const QUANTISED = ['QuantizeLinear', 'QLinearConv', 'ConvInteger', 'DynamicQuantizeLinear'];
const FED_TYPES: readonly number[] = [
  ...[DataType.float32, DataType.float16, DataType.bfloat16, DataType.float64, DataType.uint8],
];

function read(path: string, { onWeights }: ReadOptions): Promise<StoredModel> {
  return storeModel(path, onWeights).catch((cause) => {
    // Errors with a code come from the file system: the model's file, or the disk for its weights.
    const isReadable = !cause.code && !cause.message.startsWith('weights ');
    const why = isReadable ? `${path} is not an ONNX file: ` : `can't read model ${path}: `;
    throw new UnsupportedModelError(why + cause.message, { cause });
  });
}

const listed = (values: readonly ValueInfoProto[]) =>
  values.map(({ name, type }) => {
    const sizes = type?.tensorType?.shape?.dim.map((dim) => sizeOf(dim, '?')) ?? [];
    return `${name} [${sizes.join(', ')}]`;
  });

function unsupported(path: string, why: string, evidence: Partial<Evidence>): UnsupportedModelError {
  const { inputs = [], outputs = [] } = evidence;
  return new UnsupportedModelError(
    `${path} is no model that can be served: ${why}. Inputs: ${inputs.join(', ')}; outputs: ${outputs.join(', ')}. ` +
      `A model must have one image input, and be of one of the families ${Object.keys(heads).join(', ')}; --head, ` +
      '--names or a card beside the file (model.yaml) add what the file does not say.',
    { evidence },
  );
}
