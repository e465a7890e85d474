import {
  type AttributeProto,
  AttributeType,
  DataType,
  type Dimension,
  encodeModel,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './schema.ts';

/** A node's attribute: an integer, integers, text, or `{ float }`. */
type Attribute = number | readonly number[] | string | { float: number };
/** A fixed size, or the name of a dynamic size. */
export type Size = number | string;

/** ONNX operator set that the graphs are written in. */
const OPSET = 17;
/** End of a slice that extends to the end of its axis. */
const END = 2 ** 31 - 1;
/** Version of the file format for this operator set. */
const IR_VERSION = 8;

/** Builds an ONNX graph. Tensors are identified by their names. */
export class GraphBuilder {
  readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  readonly #prefix: string;

  /** @param prefix first part of every name, so that two graphs can be merged */
  constructor(prefix = '') {
    this.#prefix = prefix;
  }

  input(name: string, type: keyof typeof DataType, shape: readonly Size[]): string {
    this.#inputs.push(valueInfo(name, DataType[type], shape));
    return name;
  }

  /** Declares tensor `from` an output of the graph, named `name`. */
  output(name: string, from: string, shape: readonly Size[], type: keyof typeof DataType = 'float32'): void {
    this.nodes.push({ opType: 'Identity', name, input: [from], output: [name] });
    this.#outputs.push(valueInfo(name, DataType[type], shape));
  }

  /** Adds a node with one output. @returns the output's name */
  node(opType: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}): string {
    return this.nodeOf(opType, inputs, attributes, 1)[0] as string;
  }

  /** Adds a node with `count` outputs. @returns their names */
  nodeOf(
    opType: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute>,
    count: number,
  ): string[] {
    const name = `${this.#prefix}${opType}_${this.nodes.length}`;
    const output = Array.from({ length: count }, (_, index) => (index === 0 ? name : `${name}:${index}`));
    const attribute = Object.entries(attributes).map(([key, value]) => encodeAttribute(key, value));
    this.nodes.push({ opType, name, input: [...inputs], output, attribute });
    return output;
  }

  /** Adds a part of a tensor along one axis, up to the axis's end if `end` is left out. @returns its name */
  slice(from: string, axis: number, start: number, end = END): string {
    return this.node('Slice', [from, this.constant([start]), this.constant([end]), this.constant([axis])]);
  }

  /** Adds weights: float32 from a Float32Array, otherwise int64. `dims` defaults to a vector; `[]` is a scalar. */
  constant(values: Float32Array | readonly number[], dims: readonly number[] = [values.length]): string {
    const name = `${this.#prefix}const_${this.initializers.length}`;
    const data = values instanceof Float32Array ? values : BigInt64Array.from(values, BigInt);
    const dataType = values instanceof Float32Array ? DataType.float32 : DataType.int64;
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.initializers.push({ name, dataType, dims: [...dims], rawData });
    return name;
  }

  /** A float32 scalar. */
  scalar(value: number): string {
    return this.constant(Float32Array.of(value), []);
  }

  /** @returns the ONNX file */
  encode(name: string, metadata: Readonly<Record<string, string>>): Uint8Array {
    return encodeModel({
      irVersion: IR_VERSION,
      producerName: 'video-pipeline',
      opsetImport: [{ domain: '', version: OPSET }],
      metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
      graph: {
        name,
        node: this.nodes,
        initializer: this.initializers,
        input: this.#inputs,
        output: this.#outputs,
      },
    });
  }
}

/** @returns the declaration of a graph's input or output */
export function valueInfo(name: string, elemType: number, shape: readonly Size[]): ValueInfoProto {
  const dim = shape.map(
    (size): Dimension => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }),
  );
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}

function encodeAttribute(name: string, value: Attribute): AttributeProto {
  if (typeof value === 'number') return { name, type: AttributeType.INT, i: value };
  if (typeof value === 'string') return { name, type: AttributeType.STRING, s: Buffer.from(value) };
  if ('float' in value) return { name, type: AttributeType.FLOAT, f: value.float };
  return { name, type: AttributeType.INTS, ints: [...value] };
}
