import { expect, test } from 'vitest';
import { readInferRequest } from './open-inference-codec.ts';

function binary(header: object, elements: Buffer[]) {
  const json = Buffer.from(JSON.stringify(header));
  const lengths = elements.map((element) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(element.length);
    return Buffer.concat([length, element]);
  });
  return { body: Buffer.concat([json, ...lengths]), headerLength: json.length };
}

const input = (shape: number[], size?: number) => ({
  name: 'image',
  shape,
  datatype: 'BYTES',
  parameters: { binary_data_size: size },
});
const pictures = [Buffer.from('first'), Buffer.from('the second')];

test('pictures, id and threshold are read from a binary request', () => {
  const { body, headerLength } = binary(
    { id: '7', inputs: [input([2], 23)], parameters: { threshold: 0.3 } },
    pictures,
  );
  expect(readInferRequest(body, headerLength, 8)).toEqual({ id: '7', threshold: 0.3, pictures });
});

test('base64 pictures are read from a request without binary data', () => {
  const data = pictures.map((picture) => picture.toString('base64'));
  const body = Buffer.from(JSON.stringify({ inputs: [{ ...input([2]), data }] }));
  expect(readInferRequest(body, undefined, 8)).toEqual({ pictures });
});

test.each([
  ['a header longer than the body', {}, [], 999, /JSON header/],
  ['a header that is cut', { inputs: [] }, [], 5, /not a JSON object/],
  ['no input', { inputs: [] }, [], undefined, /one input/],
  ['an input of another name', { inputs: [{ ...input([1]), name: 'x' }] }, [], undefined, /one input/],
  ['another number of pictures', { inputs: [input([3], 23)] }, pictures, undefined, /shape \[3\]/],
  ['another size', { inputs: [input([2], 24)] }, pictures, undefined, /binary_data_size is 24/],
  [
    'a threshold over 1',
    { inputs: [input([2], 23)], parameters: { threshold: 2 } },
    pictures,
    undefined,
    /0 to 1/,
  ],
] as const)('%s is rejected', (_name, header, elements, length, message) => {
  const { body, headerLength } = binary(header, [...elements]);
  expect(() => readInferRequest(body, length ?? headerLength, 8)).toThrow(message);
});

test('an element that is longer than the rest of the body is rejected', () => {
  const { body, headerLength } = binary({ inputs: [input([2], 23)] }, pictures);
  body.writeUInt32LE(1000, headerLength);
  expect(() => readInferRequest(body, headerLength, 8)).toThrow('element 0 is longer');
});

test('a body of millions of empty elements is rejected at the first element over the limit', () => {
  const zeros = Buffer.alloc(32_000_000);
  const header = Buffer.from(JSON.stringify({ inputs: [input([8_000_000], zeros.length)] }));
  const began = process.cpuUsage();
  expect(() => readInferRequest(Buffer.concat([header, zeros]), header.length, 8)).toThrow(
    '9 frames in a request',
  );
  expect(process.cpuUsage(began).user).toBeLessThan(200_000);
});
