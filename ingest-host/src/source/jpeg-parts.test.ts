import fc from 'fast-check';
import { expect, test } from 'vitest';
import { JpegSplitter } from './jpeg-parts.ts';

/** A segment of a JPEG, its length before `bytes`. */
const segment = (marker: number, bytes: string) =>
  Buffer.concat([Buffer.from([0xff, marker, 0, bytes.length + 2]), Buffer.from(bytes, 'latin1')]);
const [START, END] = [Buffer.from([0xff, 0xd8]), Buffer.from([0xff, 0xd9])];
const scan = Buffer.concat([segment(0xda, '123'), Buffer.from('data\xff\0more\xff\xd0rest', 'latin1')]);
const plain = Buffer.concat([START, segment(0xe0, 'JFIF'), segment(0xc0, '12345'), scan, END]);
/** With a small JPEG in its header, a byte of fill, and two scans. */
const deep = Buffer.concat([
  START,
  segment(0xe1, `Exif${plain.toString('latin1')}`),
  Buffer.from([0xff]),
  segment(0xc2, '12345'),
  scan,
  segment(0xc4, '12'),
  scan,
  END,
]);
const jpegs = [plain, deep];

test('complete JPEGs are found, for any cut of the bytes and any bytes between them', () => {
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

test('a truncated JPEG is dropped, and the next one is found', () => {
  const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = jpegs;
  const found: Buffer[] = [];
  const splitter = new JpegSplitter((jpeg) => found.push(jpeg));
  splitter.push(Buffer.concat([first.subarray(0, -6), Buffer.from('\r\n--b\r\n\r\n'), second, first]));
  expect(found).toEqual([second, first]);
});
