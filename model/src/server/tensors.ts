import { HttpError } from '@video-pipeline/http';
import { heads, type OutputTensor } from '../heads/index.ts';
import { type InputSize, longestSide, type Rectangle } from '../letterbox.ts';
import type { ModelFile } from '../model-file.ts';
import { checkFrames } from './service.ts';

/** The model's own input, RGB from 0 to 1, from a client that prepares pictures itself, as Ultralytics' does. */
export interface TensorInput {
  name: string;
  shape: readonly number[];
  values: Float32Array;
  /** Names of the wanted outputs; default: all. */
  outputs?: readonly string[];
}

/**
 * A model's own tensors in the form of Triton's model configuration.
 * @see https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_configuration.md
 */
export function tensorConfig({ name, input, outputs, properties }: ModelFile): object {
  const dims = input.shape.map((size) => (typeof size === 'number' ? size : -1));
  return {
    ...{ name, platform: 'onnxruntime_onnx', max_batch_size: 0 },
    input: [{ name: input.name, data_type: 'TYPE_FP32', dims }],
    output: outputs.map(({ name, dims: [, ...sizes] }) => ({
      ...{ name, data_type: 'TYPE_FP32', dims: [-1, ...sizes] },
    })),
    // Strings in JSON are valid Python literals, which Ultralytics' client reads.
    parameters: { metadata: { string_value: JSON.stringify(properties) } },
  };
}

/**
 * Converts a tensor back to frames, the form that the runtime accepts.
 * @returns uint8 `[N, H, W, 3]`, and these sizes
 * @throws HttpError 400 for a tensor that does not fit the model, 413 for too many pictures
 */
export function framesOf(
  { input, inputSize, batchSize, head, evidence }: ModelFile,
  { name, shape, values }: TensorInput,
  maxFrames: number,
): { frames: Uint8Array; dims: [number, number, number, 3] } {
  const refuse = (why: string) => new HttpError(400, `input '${name.slice(0, 60)}' ${why}`);
  if (name !== input.name) throw refuse(`is none of this model; there are 'image' and '${input.name}'`);
  if (heads[head].preprocessing.normalisation !== 'unit' || evidence.card.input)
    throw refuse("can't be given: this model's pixels are normalised, so send pictures as 'image'");
  const isChannelsFirst = input.shape[1] === 3;
  const [n = 0, height = 0, width = 0, channels = 0] = isChannelsFirst
    ? [shape[0], shape[2], shape[3], shape[1]]
    : shape;
  const isSize =
    inputSize.kind === 'fixed'
      ? height === inputSize.height && width === inputSize.width
      : [height, width].every((side) => isSide(side, inputSize));
  const isBatch = n > 0 && (batchSize === undefined || n === batchSize);
  if (shape.length !== 4 || channels !== 3 || !isSize || !isBatch)
    throw refuse(`has the shape [${shape}], and the model takes [${input.shape}]${boundsOf(inputSize)}`);
  checkFrames(n, maxFrames);
  const pixels = height * width;
  if (values.length !== n * pixels * 3) throw refuse(`has ${values.length} values for its shape`);
  const frames = new Uint8Array(values.length);
  for (let at = 0; at < values.length; at++) {
    const value = values[at] as number;
    if (!(value >= 0 && value <= 1)) throw refuse('must have values from 0 to 1');
    const inPicture = at % (3 * pixels);
    const place = isChannelsFirst ? 3 * (inPicture % pixels) + Math.floor(inPicture / pixels) : inPicture;
    frames[at - inPicture + place] = Math.round(value * 255);
  }
  return { frames, dims: [n, height, width, 3] };
}

/** Limited as for pictures: memory and time of a run grow faster with the sides than the request's size. */
const isSide = (side: number, size: Rectangle) =>
  side > 0 && side % size.stride === 0 && side <= longestSide(size);
const boundsOf = (size: InputSize) =>
  size.kind === 'fixed' ? '' : `, with sides that are multiples of ${size.stride} up to ${longestSide(size)}`;

/**
 * An answer: JSON, then the tensors. `headerLength` is that of the JSON.
 * @throws HttpError 400 for an unknown output
 */
export function encodeTensors(
  facts: object,
  tensors: readonly OutputTensor[],
  wanted: readonly string[] = tensors.map(({ name }) => name),
): { body: Buffer; headerLength: number } {
  const given = wanted.map((name) => {
    const tensor = tensors.find((one) => one.name === name);
    if (tensor) return tensor;
    const names = tensors.map((one) => one.name).join(', ');
    throw new HttpError(400, `there is no output '${name.slice(0, 60)}'; there are: ${names}`);
  });
  const outputs = given.map(({ name, dims, data }) => ({
    ...{ name, datatype: 'FP32', shape: dims, parameters: { binary_data_size: data.byteLength } },
  }));
  const header = Buffer.from(JSON.stringify({ ...facts, outputs }));
  const bytes = given.map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return { body: Buffer.concat([header, ...bytes]), headerLength: header.length };
}
