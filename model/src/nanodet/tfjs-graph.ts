/// <reference lib="esnext.float16" />

/** One operation of a TensorFlow.js graph model. */
export interface TfNode {
  name: string;
  op: string;
  /** Names of tensors; `node:1` is a node's second output. */
  input?: string[];
  attr?: Record<string, { f?: number; b?: boolean; list?: { i?: string[] } }>;
}

/** The part of a `model.json` that conversion needs. */
export interface TfModelJson {
  modelTopology: { node: TfNode[] };
  weightsManifest: {
    weights: { name: string; shape: number[]; dtype: string; quantization?: { dtype: string } }[];
  }[];
}

interface TfConstant {
  shape: number[];
  values: Float32Array | Int32Array;
}

export type TfGraph = ReturnType<typeof readGraph>;

/**
 * A TensorFlow.js graph model: its operations and constants by name.
 * @throws Error when `weights` has another length than `model` says
 */
export function readGraph(model: TfModelJson, weights: Uint8Array) {
  const nodes = new Map(model.modelTopology.node.map((node) => [node.name, node]));
  const constants = readConstants(model, weights);
  return {
    /** @returns the operation that makes tensor `name` */
    node(name: string): TfNode {
      const node = nodes.get(name.replace(/:\d+$/, ''));
      if (!node) throw new Error(`no operation makes '${name}'`);
      return node;
    },
    /** @returns name of the `index`-th input of `node` */
    inputOf(node: TfNode, index = 0): string {
      const input = node.input?.[index];
      if (input === undefined) throw new Error(`${node.op} '${node.name}' has no input ${index}`);
      return input;
    },
    isConstant: (name: string) => constants.has(name),
    constant(name: string): TfConstant {
      const constant = constants.get(name);
      if (!constant) throw new Error(`no constant is called '${name}'`);
      return constant;
    },
  };
}

/** @see https://github.com/tensorflow/tfjs: weights follow each other in manifest order, float32 here as float16 */
function readConstants(model: TfModelJson, weights: Uint8Array): Map<string, TfConstant> {
  const constants = new Map<string, TfConstant>();
  let offset = 0;
  for (const { name, shape, dtype, quantization } of model.weightsManifest.flatMap((one) => one.weights)) {
    const count = shape.reduce((product, size) => product * size, 1);
    const stored = quantization?.dtype ?? dtype;
    const size = count * (stored === 'float16' ? 2 : 4);
    const bytes = new Uint8Array(weights.subarray(offset, offset + size));
    if (bytes.length < size) throw new Error(`weights end before '${name}'`);
    constants.set(name, { shape, values: readValues(stored, bytes.buffer) });
    offset += size;
  }
  if (offset !== weights.length) throw new Error(`weights have ${weights.length - offset} bytes too many`);
  return constants;
}

function readValues(dtype: string, bytes: ArrayBuffer): Float32Array | Int32Array {
  if (dtype === 'float16') return Float32Array.from(new Float16Array(bytes));
  if (dtype === 'float32') return new Float32Array(bytes);
  if (dtype === 'int32') return new Int32Array(bytes);
  throw new Error(`weights of type '${dtype}' are not supported`);
}
