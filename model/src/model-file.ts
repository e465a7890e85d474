import { basename } from 'node:path';
import { describeModel } from './describe-model.ts';
import { type Head, type HeadName, heads, type OutputTensor, type Preprocessing } from './heads/index.ts';
import type { InferencePool } from './inference-pool.ts';
import type { InputSize } from './letterbox.ts';
import { readCard } from './model-card.ts';
import type { ModelMetadata } from './model-metadata.ts';
import { selectCandidates } from './onnx/select-candidates.ts';
import { type StoredModel, storeModel } from './onnx/stored-model.ts';
import { changedGraph, Trials } from './trials.ts';
import { type Evidence, UnsupportedModelError } from './unsupported-model.ts';

/** A model that is read and prepared for the runtime. */
export interface ModelFile {
  /** The file's name without `.onnx`. */
  name: string;
  /** Changes with the file's content. */
  version: string;
  path: string;
  /** Path of a copy that is changed to accept uint8 frames. It exists until {@link close}. */
  onnx: string;
  /** Path of a copy whose graph also chooses `limit` candidates; `undefined` if that is impossible. */
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
  let trials: Trials | undefined;
  try {
    const { graph } = stored;
    const described = describeModel(path, graph, card, options);
    trials = new Trials({ ...options, path, stored, described });
    const began = performance.now();
    const { pool, ...found } = await trials.recognise();
    const { head, evidence } = found;
    return {
      ...found,
      pool,
      proofSeconds: (performance.now() - began - trials.loadMs) / 1000,
      name: basename(path).replace(/\.onnx$/, ''),
      version: stored.version,
      path,
      async withSelection(limit) {
        const { anchors, task }: Head = heads[head];
        const changed = changedGraph(stored, head, card);
        return anchors && !task && selectCandidates(changed, anchors, limit)
          ? stored.write(changed)
          : undefined;
      },
      input: described.input,
      properties: Object.fromEntries(graph.metadataProps.map(({ key, value }) => [key, value])),
      weights: stored.weights,
      isQuantised: graph.graph.node.some(({ opType }) => QUANTISED.includes(opType)),
      inputSize: described.inputSize,
      fit: card.fit ?? heads[head].preprocessing.fit,
      // A model that mixes the pictures of a batch gets batches of one picture.
      batchSize: described.batchSize ?? (evidence.keepsApart === false ? 1 : undefined),
      classNames: described.classNames ?? [],
      metadata: described.metadata,
      close: () => stored.close(),
    };
  } catch (error) {
    await trials?.close();
    await stored.close();
    throw error;
  }
}

const QUANTISED = ['QuantizeLinear', 'QLinearConv', 'ConvInteger', 'DynamicQuantizeLinear'];

function read(path: string, { onWeights }: ReadOptions): Promise<StoredModel> {
  return storeModel(path, onWeights).catch((cause) => {
    // Errors with a code come from the file system: the model's file, or the disk for its weights.
    const isReadable = !cause.code && !cause.message.startsWith('weights ');
    const why = isReadable ? `${path} is not an ONNX file: ` : `can't read model ${path}: `;
    throw new UnsupportedModelError(why + cause.message, { cause });
  });
}
