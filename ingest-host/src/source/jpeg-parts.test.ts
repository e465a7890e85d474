import fc from 'fast-check';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { JpegSplitter } from './jpeg-parts.ts';

const make = (progressive: boolean) =>
  sharp({
    create: {
      width: 96,
      height: 64,
      channels: 3,
      background: 'teal',
      noise: { type: 'gaussian', mean: 90, sigma: 60 },
    },
  })
    .withMetadata()
    .jpeg({ progressive })
    .toBuffer();
const jpegs = await Promise.all([make(false), make(true)]);

test('JPEGs are found whole, wherever the bytes are cut, and whatever is between them', () => {
  const between = fc.oneof(
    fc.constantFrom(
      '',
      '--frame\r\nContent-Type: image/jpg\r\n\r\n',
      '\r\n----b\nContent-Length: 7\n\n',
      '\0\xff\xd8\0',
    ),
    fc.string(),
  );
  const parts = fc.array(fc.tuple(between, fc.constantFrom(...jpegs)), { maxLength: 5 });
  const cuts = fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1 });
  fc.assert(
    fc.property(parts, cuts, (all, sizes) => {
      const whole = Buffer.concat(all.flatMap(([text, jpeg]) => [Buffer.from(text, 'latin1'), jpeg]));
      const found: Buffer[] = [];
      const splitter = new JpegSplitter((jpeg) => found.push(jpeg));
      for (let at = 0, turn = 0; at < whole.length; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 1;
        splitter.push(whole.subarray(at, at + size));
        at += size;
      }
      expect(found).toEqual(all.map(([, jpeg]) => jpeg));
    }),
  );
});

test('one that breaks off costs itself alone', () => {
  const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = jpegs;
  const found: Buffer[] = [];
  const splitter = new JpegSplitter((jpeg) => found.push(jpeg));
  splitter.push(Buffer.concat([first.subarray(0, -20), Buffer.from('\r\n--b\r\n\r\n'), second, first]));
  expect(found).toEqual([second, first]);
});
