import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeRecord, rawBatch, recordBatch } from '../../../../test/support/record-batch.ts';
import { decodeRecordSet, type FetchedRecords, MAX_BATCH_BYTES } from './record-batch.ts';

const gzip = [1, gzipSync] as const;
const END = 1_000_000;

async function decode(set: Buffer, options: Partial<FetchedRecords> = {}, bytes = 32_000_000) {
  return decodeRecordSet({ set, from: 0, end: END, aborted: [], ...options }, { bytes });
}

/** The offsets that are delivered, and those that are refused with the reason. */
async function outcome(set: Buffer, options: Partial<FetchedRecords> = {}) {
  const messages = await decode(set, options);
  const delivered = messages.filter((one) => !one.isControlRecord && !one.refusal);
  const refusals = messages.flatMap(({ refusal }) => (refusal ? [refusal] : []));
  return {
    delivered: delivered.map(({ offset }) => Number(offset)),
    refused: refusals.map(({ first, last, reason }) => `${first}-${last}: ${reason}`),
    /** The offset at which a reader goes on. */
    next: Number(messages.at(-1)?.offset) + 1,
  };
}

const two = [{ value: 'a' }, { value: 'b' }];

test('a record has the key, value and headers of its producer', async () => {
  const headers = [
    ['constructor', 'x'],
    ['__proto__', 'y'],
    ['twice', '1'],
    ['twice', '2'],
  ] as const;
  const [message] = await decode(
    recordBatch([{ key: 'k', value: 'v', headers }], { first: 7, firstTime: 5 }),
  );
  expect(message).toMatchObject({
    offset: '7',
    timestamp: '5',
    key: Buffer.from('k'),
    value: Buffer.from('v'),
  });
  expect(Object.entries(message?.headers ?? {})).toEqual([
    ['constructor', Buffer.from('x')],
    ['__proto__', Buffer.from('y')],
    ['twice', [Buffer.from('1'), Buffer.from('2')]],
  ]);
});

test('missing key, value and timestamp are null, and a log-append time replaces the timestamp', async () => {
  const [bare] = await decode(recordBatch([{}], { firstTime: -1 }));
  expect(bare).toMatchObject({ key: null, value: null, timestamp: '-1' });
  const [stamped] = await decode(recordBatch([{}], { attributes: 0x08, maxTime: 99 }));
  expect(stamped?.timestamp).toBe('99');
});

test('records in several frames of Zstandard or members of gzip are delivered, up to a limit', async () => {
  for (const [codec, compress] of [[4, zstdCompressSync] as const, gzip]) {
    const parts = (bytes: Buffer) =>
      [0, 1, 2].map((part) => compress(bytes.subarray(part * 7, part * 7 + 7)));
    const set = recordBatch(two, { codec: [codec, (bytes) => Buffer.concat(parts(bytes))] });
    expect(await outcome(set)).toEqual({ delivered: [0, 1], refused: [], next: 2 });
  }
  const empty = Buffer.concat(Array(1_001).fill(zstdCompressSync(Buffer.of())));
  const many = rawBatch(empty, { attributes: 4 });
  expect((await outcome(many)).refused).toEqual([expect.stringContaining('there are over 1000 frames')]);
});

test('offsets that compaction removed, also at the end, are skipped', async () => {
  const kept = recordBatch([{ offsetDelta: 2 }, { offsetDelta: 5 }], { lastDelta: 9 });
  expect(await outcome(kept)).toEqual({ delivered: [2, 5], refused: [], next: 10 });
  const none = recordBatch([], { first: 10, lastDelta: 4, count: 0 });
  expect(await outcome(Buffer.concat([kept, none]))).toMatchObject({ delivered: [2, 5], next: 15 });
  expect(await outcome(kept, { from: 3 })).toMatchObject({ delivered: [5], next: 10 });
});

test('records of aborted transactions are not delivered, and all others are', async () => {
  const mark = (type: number, first: number, producerId: number) =>
    recordBatch([{ key: Buffer.from([0, 0, 0, type]), value: Buffer.alloc(6) }], {
      first,
      producerId,
      attributes: 0x30,
    });
  const inside = (first: number, producerId: number) =>
    recordBatch(two, { first, producerId, attributes: 0x10 });
  const set = Buffer.concat([
    inside(0, 1),
    inside(2, 2),
    recordBatch(two, { first: 4 }),
    mark(0, 6, 1),
    mark(1, 7, 2),
    inside(8, 1),
    mark(1, 10, 1),
  ]);
  const aborted = [{ producerId: 1, firstOffset: 0 }];
  expect(await outcome(set, { aborted })).toEqual({ delivered: [2, 3, 4, 5, 8, 9], refused: [], next: 11 });
  // The broker names a transaction also in an answer that begins with its end.
  const rest = Buffer.concat([mark(0, 6, 1), mark(1, 7, 2), inside(8, 1), mark(1, 10, 1)]);
  expect(await outcome(rest, { from: 6, aborted })).toMatchObject({ delivered: [8, 9], next: 11 });
});

describe('records that can not be read are refused by offset, and records around them are delivered', () => {
  const bad: [string, Buffer, string][] = [
    ['a wrong checksum', recordBatch(two, { first: 2, crc: 1 }), '2-3: the record batch fails its checksum'],
    [
      'an unknown codec',
      recordBatch(two, { first: 2, attributes: 6 }),
      '2-3: the record batch has the unknown codec 6',
    ],
    ['an unknown format', recordBatch(two, { first: 2, magic: 3 }), '2-2: the record batch has format 3'],
    [
      'a damaged body',
      rawBatch(Buffer.from('no gzip'), { first: 2, lastDelta: 1, attributes: 1 }),
      "2-3: the record batch can't be inflated, gzip: ",
    ],
    [
      'a body that is not records',
      rawBatch(Buffer.from('zzzz'), { first: 2, lastDelta: 1, count: 2 }),
      '2-3: the record batch is malformed',
    ],
    [
      'offsets out of order',
      recordBatch([{ offsetDelta: 1 }, { offsetDelta: 0 }], { first: 2 }),
      '3-3: the record batch is malformed',
    ],
    [
      'fewer records than the header has',
      recordBatch(two, { first: 2, count: 3, lastDelta: 2 }),
      '4-4: the record batch is malformed',
    ],
    [
      'an invalid last offset',
      recordBatch(two, { first: 2, lastDelta: -7 }),
      '2-2: the record batch has no sound last',
    ],
    [
      'a record too large for an event',
      recordBatch([{ value: Buffer.alloc(5_000_000) }], { first: 2 }),
      '2-2: the record has 5000009 bytes',
    ],
    [
      '300 headers',
      recordBatch([{ headers: Array(300).fill(['a', '']) }], { first: 2 }),
      '2-2: the record has 300 headers',
    ],
    [
      '20,000 records',
      recordBatch(Array(20_000).fill({}), { first: 2, codec: gzip }),
      '10002-20001: the record batch has 20000 records',
    ],
  ];
  test.each(bad)('%s', async (_name, batch, reason) => {
    const after = Number((await outcome(batch)).next);
    const set = Buffer.concat([recordBatch(two), batch, recordBatch(two, { first: after })]);
    const { delivered, refused, next } = await outcome(set);
    expect(refused).toEqual([expect.stringContaining(reason)]);
    expect(delivered).toEqual(expect.arrayContaining([0, 1, after, after + 1]));
    expect(next).toBe(after + 2);
  });

  test('a batch with an invalid length', async () => {
    const broken = recordBatch(two, { first: 2 });
    broken.writeInt32BE(-1, 8);
    const set = Buffer.concat([recordBatch(two), broken]);
    expect(await outcome(set, { from: 2 })).toMatchObject({
      refused: [expect.stringContaining('2-2: the record batch has no sound header')],
      next: 3,
    });
  });

  test.each([
    ['gzip', gzip],
    ['Zstandard', [4, zstdCompressSync] as const],
  ])('a decompression bomb in %s, after good records', async (_name, codec) => {
    const bomb = recordBatch([{ value: 'good' }, { value: Buffer.alloc(60_000_000) }, { value: 'lost' }], {
      codec,
    });
    const before = process.memoryUsage.rss();
    expect(await outcome(Buffer.concat([bomb, recordBatch(two, { first: 3 })]))).toEqual({
      delivered: [0, 3, 4],
      refused: [`1-2: the record batch inflates to over ${MAX_BATCH_BYTES} bytes`],
      next: 5,
    });
    expect(process.memoryUsage.rss() - before).toBeLessThan(60_000_000);
  });
});

test('the inflated size of a response is limited, and the rest is fetched again', async () => {
  const large = recordBatch([{ value: Buffer.alloc(4_000_000) }], { codec: gzip });
  const batches = Array.from({ length: 20 }, (_, first) => {
    const batch = Buffer.from(large);
    batch.writeBigInt64BE(BigInt(first));
    return batch;
  });
  const messages = await decode(Buffer.concat(batches), {}, 10_000_000);
  expect(messages.map(({ offset }) => offset)).toEqual(['0', '1']);
});

test('for any bytes from a broker the reader advances its offset', async () => {
  const record = encodeRecord({ key: 'gate', value: Buffer.alloc(200, 1), headers: [['stream_id', 'gate']] });
  const good = [
    recordBatch(two, { first: 0 }),
    rawBatch(Buffer.concat([record, record]), { first: 2, codec: gzip, count: 2, lastDelta: 1 }),
    recordBatch(two, { first: 4 }),
  ];
  const set = Buffer.concat(good);
  const change = fc.tuple(fc.nat(set.length - 1), fc.nat(255));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
      const damaged = Buffer.from(set);
      for (const [at, byte] of changes) damaged[at] = byte;
      const messages = await decode(damaged, { end: 6 });
      const offsets = messages.map(({ offset }) => Number(offset));
      expect(offsets).toEqual(offsets.toSorted((one, other) => one - other));
      expect(offsets.every((offset) => offset >= 0 && offset < 6)).toBe(true);
    }),
    { numRuns: 500 },
  );
});
