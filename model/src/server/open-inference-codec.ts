import { RequestError } from './errors.ts';

/** An inference request: encoded pictures and what goes for all of them. */
export interface InferRequest {
  id?: string;
  pictures: Buffer[];
  /** 0..1 */
  threshold?: number;
}

interface InferHeader {
  id?: string;
  inputs?: {
    name?: string;
    shape?: number[];
    datatype?: string;
    parameters?: { binary_data_size?: number };
    data?: unknown[];
  }[];
  parameters?: { threshold?: number };
}

/** Name of the only input and of the only output. */
export const INPUT_NAME = 'image';
export const OUTPUT_NAME = 'detections';

/**
 * Reads a request of the Open Inference Protocol v2: one input `image` of type BYTES, one encoded picture an element.
 * @param headerLength bytes of JSON before the binary data, each element with its length in 4 bytes before it, little
 *   endian; `undefined` when all is JSON, with base64 in `data`
 * @see https://github.com/kserve/open-inference-protocol and Triton's `extension_binary_data.md`
 * @throws RequestError 400
 */
export function readInferRequest(body: Buffer, headerLength: number | undefined): InferRequest {
  const end = headerLength ?? body.length;
  if (!Number.isInteger(end) || end < 0 || end > body.length) {
    throw new RequestError(
      400,
      `the JSON header can't have ${headerLength} of the body's ${body.length} bytes`,
    );
  }
  const header = parseHeader(body.subarray(0, end));
  const [input] = header.inputs ?? [];
  if (header.inputs?.length !== 1 || input?.name !== INPUT_NAME || input.datatype !== 'BYTES') {
    throw new RequestError(400, `there must be one input, '${INPUT_NAME}' of type BYTES`);
  }
  const pictures = input.data ? fromBase64(input.data) : elements(body.subarray(end), input.parameters);
  const [count] = input.shape ?? [];
  if (input.shape?.length !== 1 || count !== pictures.length) {
    throw new RequestError(400, `shape [${input.shape}] does not fit ${pictures.length} elements`);
  }
  const threshold = header.parameters?.threshold;
  if (threshold !== undefined && !(threshold >= 0 && threshold <= 1)) {
    throw new RequestError(400, 'parameter threshold must be from 0 to 1');
  }
  return {
    pictures,
    ...(header.id === undefined ? {} : { id: header.id }),
    ...(threshold === undefined ? {} : { threshold }),
  };
}

function parseHeader(json: Buffer): InferHeader {
  try {
    const header: unknown = JSON.parse(json.toString());
    if (typeof header === 'object' && header !== null) return header;
  } catch {
    // The answer below says all there is to say.
  }
  throw new RequestError(400, 'the header is not a JSON object');
}

function fromBase64(data: readonly unknown[]): Buffer[] {
  return data.map((text, index) => {
    if (typeof text !== 'string') throw new RequestError(400, `data[${index}] is not text in base64`);
    return Buffer.from(text, 'base64');
  });
}

function elements(binary: Buffer, parameters: { binary_data_size?: number } = {}): Buffer[] {
  const size = parameters.binary_data_size;
  if (size !== binary.length) {
    throw new RequestError(400, `binary_data_size is ${size}, but ${binary.length} bytes follow the header`);
  }
  const found: Buffer[] = [];
  for (let at = 0; at < binary.length; ) {
    const start = at + 4;
    const end = start <= binary.length ? start + binary.readUInt32LE(at) : Number.POSITIVE_INFINITY;
    if (end > binary.length)
      throw new RequestError(400, `element ${found.length} is longer than the binary data`);
    found.push(binary.subarray(start, end));
    at = end;
  }
  return found;
}
