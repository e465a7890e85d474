import { HttpError, refuseDenseJson } from '@video-pipeline/http';
import { fromBase64 } from './base64.ts';
import { checkFrames } from './service.ts';
import type { TensorInput } from './tensors.ts';

const badRequest = (why: string) => new HttpError(400, why);

/** Name of the only input and of the only output. */
export const INPUT_NAME = 'image';
export const OUTPUT_NAME = 'detections';

/**
 * Reads a request of the Open Inference Protocol v2: one input `image` of type BYTES. Each element is an encoded
 * picture. Instead of pictures it may have a tensor for the model's own input.
 * @param headerLength bytes of JSON before the binary data. In it, 4 bytes with the length, little endian, come before
 *   each element. `undefined` when the body is JSON only, with base64 in `data`
 * @see https://github.com/kserve/open-inference-protocol and Triton's `extension_binary_data.md`
 * @throws HttpError 400; 413 for more than `maxFrames` pictures
 */
export function readInferRequest(
  body: Buffer,
  headerLength: number | undefined,
  maxFrames: number,
): { pictures: Buffer[]; id: string | undefined; threshold?: number | undefined; tensor?: TensorInput } {
  const end = headerLength ?? body.length;
  if (!Number.isInteger(end) || end < 0 || end > body.length) {
    throw badRequest(`the JSON header can't have ${headerLength} of the body's ${body.length} bytes`);
  }
  const { inputs, outputs, parameters, ...header } = parseHeader(body.subarray(0, end));
  const id = typeof header.id === 'string' ? header.id : undefined;
  const [input] = Array.isArray(inputs) && inputs.length === 1 ? inputs : [];
  if (isRecord(input) && input.datatype === 'FP32') {
    return { pictures: [], id, tensor: tensorOf(input, body.subarray(end), outputs, parameters) };
  }
  checkOutputs(outputs);
  if (!isRecord(input) || input.name !== INPUT_NAME || input.datatype !== 'BYTES') {
    throw badRequest(`there must be one input, '${INPUT_NAME}' of type BYTES`);
  }
  const pictures =
    input.data === undefined
      ? elements(body.subarray(end), input.parameters, maxFrames)
      : picturesIn(input.data);
  const { shape } = input;
  if (!Array.isArray(shape) || shape.length !== 1 || shape[0] !== pictures.length) {
    throw badRequest(`shape ${JSON.stringify(shape)?.slice(0, 60)} does not fit ${pictures.length} elements`);
  }
  const threshold = isRecord(parameters) ? parameters.threshold : undefined;
  if (threshold !== undefined && !(typeof threshold === 'number' && threshold >= 0 && threshold <= 1)) {
    throw badRequest('parameter threshold must be a number from 0 to 1');
  }
  return { pictures, id, threshold };
}

/** Reads a tensor. Its values must be binary, and so must the answer's: as text they would be many times longer. */
function tensorOf(
  { name, shape, parameters }: Record<string, unknown>,
  binary: Buffer,
  outputs: unknown,
  about: unknown,
): TensorInput {
  const isSize = (size: unknown) => Number.isInteger(size) && Number(size) > 0;
  if (typeof name !== 'string' || !Array.isArray(shape) || shape.length > 8 || !shape.every(isSize))
    throw badRequest('an input of FP32 needs a name and a shape');
  checkSize(binary, parameters);
  if (binary.length % 4 > 0) throw badRequest('FP32 values have 4 bytes each');
  const wanted = Array.isArray(outputs) ? outputs : [];
  const isBinary = (of: unknown, key: string) =>
    isRecord(of) && isRecord(of.parameters) && of.parameters[key] === true;
  const areBinary = wanted.every((output) => isBinary(output, 'binary_data'));
  if (wanted.length > 0 ? !areBinary : !isBinary({ parameters: about }, 'binary_data_output'))
    throw badRequest('outputs of FP32 are given as binary data: set binary_data, or binary_data_output');
  const names = wanted.map((one) => String(one.name));
  // Each costs its tensor's bytes.
  if (new Set(names).size < names.length) throw badRequest('an output is asked for twice');
  // Copied to an address that is aligned for floats.
  const values = new Float32Array(new Uint8Array(binary).buffer);
  return { name, shape, values, ...(names.length > 0 && { outputs: names }) };
}

/** A request may name the outputs that it wants. Only {@link OUTPUT_NAME} exists. */
function checkOutputs(outputs: unknown): void {
  if (outputs === undefined) return;
  const names = Array.isArray(outputs)
    ? outputs.map((output) => (isRecord(output) ? output.name : undefined))
    : [];
  const unknown = names.findIndex((name) => name !== OUTPUT_NAME);
  if (unknown < 0 && Array.isArray(outputs)) return;
  const named = JSON.stringify(names[unknown])?.slice(0, 60);
  throw badRequest(`there is no output ${named}; there is '${OUTPUT_NAME}'`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseHeader(json: Buffer): Record<string, unknown> {
  refuseDenseJson(json);
  try {
    const header: unknown = JSON.parse(json.toString());
    if (isRecord(header)) return header;
  } catch {
    // The error below is enough.
  }
  throw badRequest('the header is not a JSON object');
}

function picturesIn(data: unknown): Buffer[] {
  if (!Array.isArray(data)) throw badRequest('data is not a list');
  return data.map((text, index) => {
    const bytes = typeof text === 'string' ? fromBase64(text) : undefined;
    if (!bytes) throw badRequest(`data[${index}] is not text in base64`);
    return bytes;
  });
}

/** @throws HttpError 400 when the header states another length of the binary data */
function checkSize(binary: Buffer, parameters: unknown): void {
  const size = isRecord(parameters) ? parameters.binary_data_size : undefined;
  if (size === undefined && binary.length === 0)
    throw badRequest('its values must follow as binary data, and binary_data_size say how many bytes');
  if (size !== binary.length) {
    throw badRequest(
      `binary_data_size is ${JSON.stringify(size)?.slice(0, 60)}, but ${binary.length} bytes follow the header`,
    );
  }
}

function elements(binary: Buffer, parameters: unknown, maxFrames: number): Buffer[] {
  checkSize(binary, parameters);
  const found: Buffer[] = [];
  for (let at = 0; at < binary.length; ) {
    const start = at + 4;
    const end = start <= binary.length ? start + binary.readUInt32LE(at) : Number.POSITIVE_INFINITY;
    if (end > binary.length) throw badRequest(`element ${found.length} is longer than the binary data`);
    found.push(binary.subarray(start, end));
    // At once: a body of zeros would be millions of empty elements.
    checkFrames(found.length, maxFrames);
    at = end;
  }
  return found;
}
