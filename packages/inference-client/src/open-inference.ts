import { crc32 } from 'node:zlib';
import type { Frame } from '@video-pipeline/frame';
import type { FrameResult } from './client.ts';
import { badResponse, isModelName, isRecord, parseJson, parseResult } from './response.ts';

/**
 * An inference request of the Open Inference Protocol v2 with the binary tensor extension, which avoids base64: one
 * input `image` of datatype BYTES, shape `[frames]`.
 * @param threshold lowest confidence of a detection, 0..1
 * @returns the body: `headerLength` bytes of JSON, then the JPEGs, each after its length in 4 bytes little-endian
 * @see https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
 */
export function encodeRequest(frames: readonly Frame[], threshold: number) {
  const elements = frames.flatMap(({ jpeg }) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(jpeg.length);
    return [length, jpeg];
  });
  const size = elements.reduce((sum, element) => sum + element.length, 0);
  const parameters = { binary_data_size: size };
  const input = { name: 'image', shape: [frames.length], datatype: 'BYTES', parameters };
  const header = Buffer.from(JSON.stringify({ inputs: [input], parameters: { threshold } }));
  return { headerLength: header.length, body: Buffer.concat([header, ...elements]) };
}

/**
 * Reads the answer: an output `detections` of datatype BYTES, one JSON text a frame, each
 * `{"width","height","detections"}` or `{"error"}`. An item may name its picture by `crc32`, the CRC-32 of the JPEG's
 * bytes; this project's model server does.
 * @throws InferenceClientError when the answer has another form, another number of frames, or is for another picture
 */
export function decodeResponse(json: string, frames: readonly Frame[], threshold: number): FrameResult[] {
  const answer = parseJson(json);
  if (!isRecord(answer) || !isModelName(answer.model_name)) throw badResponse('has no model_name');
  const model = answer.model_name;
  const outputs = Array.isArray(answer.outputs) ? answer.outputs : [];
  const output = outputs.find((one) => isRecord(one) && one.name === 'detections');
  if (!Array.isArray(output?.data)) throw badResponse("has no output 'detections'");
  const data: unknown[] = output.data;
  if (data.length !== frames.length) {
    throw badResponse(`is for ${data.length} frames, ${frames.length} were asked`);
  }
  return data.map((text, index) => {
    if (typeof text !== 'string') throw badResponse(`item ${index} is not text`);
    const item = parseJson(text);
    const jpeg = frames[index]?.jpeg ?? '';
    if (isRecord(item) && item.crc32 !== undefined && item.crc32 !== crc32(jpeg)) {
      throw badResponse(`item ${index} is of another picture`);
    }
    return parseResult(item, model, threshold, `item ${index}`);
  });
}
