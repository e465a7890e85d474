import { gzipSync, zstdCompressSync } from 'node:zlib';
import { encodeDetectedFrame, encodeFrame } from '@video-pipeline/frame';
import { compressFrameSync } from 'lz4-napi';
import sharp from 'sharp';
import { compressSync } from 'snappy';
import type { Random } from '../../support/random.ts';
import { type BatchOptions, type BatchRecord, recordBatch } from '../../support/record-batch.ts';
import { produceRaw } from '../raw-producer.ts';
import type { Failed, Target } from '../target.ts';
import type { Attack, Part } from './part.ts';

const gzip = [1, gzipSync] as const;
const CODECS: [name: string, codec: NonNullable<BatchOptions['codec']>][] = [
  ['gzip', gzip],
  ['snappy', [2, compressSync]],
  ['xerial', [2, inXerialBlocks]],
  ['lz4', [3, compressFrameSync]],
  ['zstd', [4, zstdCompressSync]],
];
const BOMB_BYTES = 100_000_000;
const FRAMES = 'video-frames';

/** Records and batches of foreign producers. */
export const kafka: Part = {
  name: 'kafka',
  attacks: (random, mutations) => [
    ...CODECS.map(([name, codec]) => taken(`frames in ${name}`, `in-${name}`, { codec })),
    taken('frames without a key and without a time', 'bare', { firstTime: -1 }, (record) => ({
      ...record,
      key: null,
    })),
    ...['constructor', 'toString', '__proto__'].map((name) =>
      taken(`a header named ${name}`, `named-${name.replaceAll('_', '')}`, {}, (record) => ({
        ...record,
        headers: [[name, 'x'], ...(record.headers ?? [])],
      })),
    ),
    ...CODECS.filter(([name]) => name !== 'xerial').map(([name, codec]) => bomb(name, codec)),
    refused('a tombstone', /value is empty/, (record) => ({ ...record, value: null })),
    refused('no headers', /header 'stream_id' is missing/, (record) => ({ ...record, headers: [] })),
    refused('a record of 5 MB', /bytes, more than an event carries/, (record) => ({
      ...record,
      value: Buffer.alloc(5_000_000),
    })),
    refused('300 headers', /300 headers/, (record) => ({ ...record, headers: Array(300).fill(['a', '']) })),
    refused(
      'a time in seconds',
      /captured_at' is 1970-01-/,
      withHeader('captured_at', () => '1795850000'),
    ),
    refused(
      'a time to come',
      /captured_at' is 2\d{3}-/,
      withHeader('captured_at', (time) => `1${time.slice(1)}0`),
    ),
    png,
    boxes,
    madeUpStreams,
    damaged(random, mutations),
  ],
};

/** Three frames of a stream, as a batch. */
async function framesOf(target: Target, streamId: string, count = 3): Promise<BatchRecord[]> {
  const { width = 0, height = 0 } = await sharp(target.jpeg).metadata();
  return Array.from({ length: count }, (_, frameNumber) => {
    const frame = {
      streamId,
      frameNumber,
      session: 'hostile',
      capturedAt: Date.now() + frameNumber,
      width,
      height,
    };
    const { key, value, headers } = encodeFrame({ ...frame, jpeg: target.jpeg });
    return { key, value, headers: Object.entries(headers) };
  });
}

/** Valid frames in unusual encodings: all are annotated. */
function taken(
  name: string,
  streamId: string,
  options: BatchOptions,
  change: (record: BatchRecord) => BatchRecord = (record) => record,
): Attack {
  return {
    name,
    async run(target) {
      const records = (await framesOf(target, streamId)).map(change);
      await send(target, FRAMES, recordBatch(records, { firstTime: Date.now(), ...options }));
      await target.until(
        'its frames, annotated',
        async () => (await target.annotated(streamId)) === records.length,
      );
    },
  };
}

/** An invalid record between two valid frames: it goes to `failed/`, and the frames are annotated. */
function refused(name: string, reason: RegExp, change: (record: BatchRecord) => BatchRecord): Attack {
  return {
    name,
    async run(target) {
      const streamId = `beside-${name.replaceAll(/\W+/g, '-')}`;
      const [before, bad = {}, after] = await framesOf(target, streamId);
      const records = [before, change(bad), after].filter((record) => record !== undefined);
      const first = await send(target, FRAMES, recordBatch(records, { firstTime: Date.now() }));
      await target.until('its neighbours, annotated', async () => (await target.annotated(streamId)) === 2);
      await liesInFailed(target, FRAMES, first + 1, reason);
    },
  };
}

function withHeader(name: string, change: (value: string) => string) {
  return (record: BatchRecord): BatchRecord => ({
    ...record,
    headers: (record.headers ?? []).map(([one, value]) => [
      one,
      one === name ? change(String(value)) : value,
    ]),
  });
}

/** A decompression bomb after a valid frame: the frame is annotated, and the bomb goes to `failed/` by its offset. */
function bomb(name: string, codec: NonNullable<BatchOptions['codec']>): Attack {
  return {
    name: `a bomb in ${name}`,
    async run(target) {
      const streamId = `before-bomb-${name}`;
      const [good = {}] = await framesOf(target, streamId, 1);
      const batch = recordBatch([good, { value: Buffer.alloc(BOMB_BYTES) }], { codec });
      const first = await send(target, FRAMES, batch);
      await target.until(
        'the frame before it, annotated',
        async () => (await target.annotated(streamId)) === 1,
      );
      const { reference } = await liesInFailed(target, FRAMES, first + 1, /inflates to over/);
      if (reference?.first_offset !== first + 1) throw new Error(`it refers to ${JSON.stringify(reference)}`);
    },
  };
}

const png: Attack = {
  name: 'a PNG',
  async run(target) {
    const value = await sharp(target.jpeg).png().toBuffer();
    for (const topic of [FRAMES, 'detections']) {
      const [record] = await framesOf(target, 'png', 1);
      const more = [
        ['model', 'm'],
        ['detections', '[]'],
      ] as const;
      const headers = [...(record?.headers ?? []), ...more];
      const first = await send(target, topic, recordBatch([{ ...record, value, headers }]));
      await liesInFailed(target, topic, first, /is a PNG, not a JPEG/);
    }
  },
};

const boxes: Attack = {
  name: '4,000 boxes with long labels, six times',
  async run(target) {
    const value = await sharp({ create: { width: 7000, height: 7000, channels: 3, background: 'grey' } })
      .jpeg()
      .toBuffer();
    const one = { class_id: 0, class_name: 'W'.repeat(40), confidence: 1, bbox: [0, 0, 1e9, 1e9] as const };
    const detections = Array(4_000).fill(one);
    const records = Array.from({ length: 6 }, (_, frameNumber) => {
      const frame = {
        streamId: 'boxes',
        frameNumber,
        session: 'hostile',
        capturedAt: Date.now() + frameNumber,
      };
      const record = encodeDetectedFrame({
        ...frame,
        width: 7000,
        height: 7000,
        jpeg: value,
        detections,
        model: 'm',
      });
      return { ...record, headers: Object.entries(record.headers) };
    });
    for (const record of records) await send(target, 'detections', recordBatch([record]));
    await target.until(
      'all of them, annotated',
      async () => (await target.annotated('boxes')) === records.length,
    );
  },
};

/** Frames in one send of attacks with hundreds of frames: more would be a load test. */
const LOT = 50;

/** More streams than any user has: memory for each is limited, and their frames are annotated. */
const madeUpStreams: Attack = {
  name: '400 made-up streams',
  async run(target) {
    const [frame = {}] = await framesOf(target, 'made-up', 1);
    const more = [
      ['model', 'm'],
      ['detections', '[]'],
    ] as const;
    const named = (number: number): BatchRecord => ({
      ...frame,
      key: `made-up-${number}`,
      headers: [
        ...(frame.headers ?? []).filter(([name]) => name !== 'stream_id'),
        ['stream_id', `made-up-${number}`],
        ...more,
      ],
    });
    for (let first = 0; first < 400; first += LOT) {
      const records = Array.from({ length: LOT }, (_, index) => named(first + index));
      await send(target, 'detections', recordBatch(records, { firstTime: Date.now() }));
      const last = `made-up-${first + LOT - 1}`;
      await target.until(`${last}, annotated`, async () => (await target.annotated(last)) === 1);
    }
  },
};

/** Valid records with a few changed bytes: each is annotated, or goes to `failed/` with a reason. */
function damaged(random: Random, count: number): Attack {
  return {
    name: `${count} damaged records`,
    async run(target) {
      let open: [offset: number, streamId: string][] = [];
      const isDone = async () => {
        const failed = await target.failed();
        const reasoned = new Set(
          failed.filter(({ reason }) => reason).map(({ topic, offset }) => `${topic} ${offset}`),
        );
        const isOpen = async ([offset, id]: (typeof open)[number]) =>
          !reasoned.has(`${FRAMES} ${offset}`) && (await target.annotated(id)) === 0;
        const are = await Promise.all(open.map(isOpen));
        open = open.filter((_, index) => are[index]);
        // Annotate may reject a record that detect accepted. Its offset is another one there.
        return open.length <= failed.filter(({ stage }) => stage === 'annotate').length;
      };
      for (let number = 0; number < count; number++) {
        const streamId = `damaged-${number}`;
        const [record = {}] = await framesOf(target, streamId, 1);
        const batch = recordBatch([damage(record, random)], { firstTime: Date.now() });
        open.push([await send(target, FRAMES, batch), streamId]);
        const isLast = number % LOT === LOT - 1 || number === count - 1;
        if (isLast) await target.until('each of them, annotated or in failed/', isDone);
      }
    },
  };
}

function damage(record: BatchRecord, random: Random): BatchRecord {
  const headers = (record.headers ?? []).map(
    ([name, value]) => [Buffer.from(name), Buffer.from(value)] as const,
  );
  const parts = [Buffer.from(record.value ?? ''), ...headers.flat()];
  for (let times = random.integer(1, 4); times > 0; times--) {
    const part = parts[random.integer(0, parts.length - 1)];
    if (part && part.length > 0) part[random.integer(0, part.length - 1)] = random.integer(0, 255);
  }
  const [value = null] = parts;
  return {
    key: record.key ?? null,
    value,
    headers: headers.map(([name, one]) => [name.toString('latin1'), one]),
  };
}

/** @returns the batch's first offset. @throws Error if the broker rejects it: then it does not reach the pipeline */
async function send({ kafka: broker }: Target, topic: string, batch: Buffer): Promise<number> {
  const { errorCode, firstOffset } = await produceRaw(broker, topic, PARTITION, batch);
  if (errorCode !== 0) throw new Error(`the broker refuses it with error ${errorCode}`);
  return firstOffset;
}

/** All attacks use one partition: an attack that blocks it blocks all later ones. */
const PARTITION = 0;

async function liesInFailed(target: Target, topic: string, offset: number, reason: RegExp): Promise<Failed> {
  const find = async () =>
    (await target.failed()).find(
      (one) =>
        one.topic === topic &&
        one.partition === PARTITION &&
        one.offset === offset &&
        reason.test(one.reason),
    );
  await target.until(`offset ${offset} in failed/ with ${reason}`, async () => (await find()) !== undefined);
  return (await find()) as Failed;
}

/** Snappy in the format of Java clients: blocks of 32 KiB (xerial's snappy-java). */
export function inXerialBlocks(bytes: Buffer): Buffer {
  const header = Buffer.from('82534e41505059000000000100000001', 'hex');
  const blocks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 32_768) {
    const block = compressSync(bytes.subarray(at, at + 32_768));
    const length = Buffer.alloc(4);
    length.writeInt32BE(block.length);
    blocks.push(length, block);
  }
  return Buffer.concat([header, ...blocks]);
}
