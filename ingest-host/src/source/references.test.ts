import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { FormatContext, Packet } from 'node-av/lib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { evenTimes, makeVideo } from '../../../test/support/video.ts';
import { readParameters, readSequence } from './h264-headers.ts';
import { H264References } from './h264-references.ts';
import { H265References } from './h265-references.ts';
import { Bits, nalUnits } from './nal-units.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'frames-'));
});
afterAll(() => rm(folder, { recursive: true }));

const CODECS = [
  ['libx264', H264References],
  ['libx265', H265References],
] as const;

/** Coded pictures, in decoding order. */
async function pictures(codec: 'libx264' | 'libx265', bFrames: number): Promise<Buffer[]> {
  const path = join(folder, `${codec}-${bFrames}.ts`);
  await makeVideo(path, { times: evenTimes(60, 25), gop: 30, bFrames, codec });
  await using input = new FormatContext();
  await input.openInput(path);
  using packet = new Packet();
  packet.alloc();
  const all: Buffer[] = [];
  while ((await input.readFrame(packet)) >= 0) {
    all.push(Buffer.from(packet.data ?? []));
    packet.unref();
  }
  return all;
}

describe.each(CODECS)('references of %s', (codec, Check) => {
  const gaps = (all: Buffer[]) => {
    const check = new Check();
    return all.flatMap((picture, index) => (check.check(picture) === 'whole' ? [] : [index]));
  };

  test('a complete stream has no gap', async () => {
    for (const bFrames of [0, 3]) expect(gaps(await pictures(codec, bFrames))).toEqual([]);
  });

  test('after the loss of a reference picture, pictures are marked as damaged until none refers to it', async () => {
    const all = await pictures(codec, 0);
    for (const [lost, count] of [
      ...[1, 7, 15, 28, 31, 45].map((one) => [one, 1] as const),
      [10, 4],
    ] as const) {
      const check = new Check();
      const verdicts = all.toSpliced(lost, count).map((picture) => check.check(picture));
      const noticed = verdicts.flatMap((verdict, index) => (verdict === 'whole' ? [] : [index]));
      expect(noticed[0], `${lost}`).toBe(lost);
      // After that, or the next key frame, none is missed any more.
      const broken = verdicts.indexOf('broken');
      const nextKey = lost < 30 ? 29 : verdicts.length;
      const end = broken < 0 ? nextKey : broken + 1;
      expect(noticed).toEqual(Array.from({ length: end - lost }, (_, at) => lost + at));
    }
    expect(gaps(all.toSpliced(29, 1)), 'the last before a key frame').toEqual([]);
  });

  test('arbitrary bytes are no gap', () => {
    const check = new Check();
    for (const text of ['', '\0\0\x01', '\0\0\x01g', '\0\0\x01\x65', '\0\0\0\x0eAVCC']) {
      expect(check.check(Buffer.from(text, 'latin1'))).toBe('whole');
    }
    const units = fc.array(fc.tuple(fc.constantFrom(0x42, 0x44, 0x67, 0x28, 0x02, 0x65), fc.uint8Array()));
    fc.assert(
      fc.property(units, (all) => {
        check.check(Buffer.concat(all.map(([type, rest]) => Buffer.from([0, 0, 1, type, 1, ...rest]))));
      }),
    );
  });
});

test('H.265: the loss of a picture that no other refers to is no gap', async () => {
  const all = await pictures('libx265', 3);
  const check = new H265References();
  // TRAIL_N (ITU-T H.265, 7.4.2.2).
  const isLeaf = (picture: Buffer) => [...nalUnits(picture, (header) => header >> 1 < 32)].at(-1)?.[0] === 0;
  const kept = all.filter((picture) => !isLeaf(picture));
  expect(all.length - kept.length).toBeGreaterThan(10);
  expect(kept.filter((picture) => check.check(picture) !== 'whole')).toEqual([]);
});

/** A number as ITU-T H.264, 9.1, writes it. */
const ue = (value: number) => {
  const code = (value + 1).toString(2);
  return code.padStart(2 * code.length - 1, '0');
};
/** A NAL unit with its start code. */
const unit = (header: number, ...bits: string[]) => {
  const bytes = `${bits.join('')}1`.match(/.{1,8}/g) ?? [];
  return Buffer.from([0, 0, 1, header, ...bytes.map((byte) => Number.parseInt(byte.padEnd(8, '0'), 2))]);
};
const sequence = (id: number) =>
  unit(0x67, '01000010', '0111111100011110', ue(id), '1', ue(2), ue(4), '01', '11');
const parameters = (id: number) => unit(0x68, ue(id), ue(0), '00', ue(0), ue(0), ue(0), '000', '111', '000');
const inner = (all: Buffer) => all.subarray(3);

test('H.264: without marking commands, at most the allowed number of reference pictures is kept', () => {
  const check = new H264References();
  const key = unit(0x65, ue(0), ue(2), ue(0), '0000', ue(0), '00');
  expect(check.check(Buffer.concat([sequence(0), parameters(0), key]))).toBe('whole');
  const next = (number: number) =>
    unit(0x61, ue(0), ue(0), ue(0), (number % 16).toString(2).padStart(4, '0'), '00', '1', ue(0));
  for (let number = 1; number < 6; number += 1) expect(check.check(next(number))).toBe('whole');
  const afterLoss = Array.from({ length: 40 }, (_, at) => check.check(next(7 + at)));
  expect(afterLoss[0]).toBe('smeared');
  expect(afterLoss).toContain('broken');
});

test('at most 1,000 NAL units of a picture are read', () => {
  expect([...nalUnits(Buffer.concat(Array(5_000).fill(parameters(0))), () => false)]).toHaveLength(1_000);
});

test('truncated headers and unknown parameter sets are rejected', () => {
  expect(() => new Bits(Buffer.from([0x67, 0]), 1).golomb()).toThrow(RangeError);
  expect(() => new Bits(Buffer.from([0x67]), 1).flag()).toThrow(RangeError);
  expect(readSequence(inner(sequence(31)))[0]).toBe(31);
  expect(readParameters(inner(parameters(255)))[0]).toBe(255);
  expect(() => readSequence(inner(sequence(32)))).toThrow(RangeError);
  expect(() => readParameters(inner(parameters(256)))).toThrow(RangeError);
});

test('fields: after a loss or a late join, all are missing until a key frame or a recovery point', () => {
  // As `sequence`, with fields: 4 bits of frame_num, and output order from pic_order_cnt_lsb.
  const fieldSequence = unit(
    0x67,
    '01001101',
    '0000000000011110',
    ue(0),
    ue(0),
    ue(0),
    ue(4),
    ue(2),
    '0',
    ue(3),
    ue(1),
    '00100',
  );
  /** Both fields of a picture: `I` of a key frame, `i` of another, or `P`. */
  const fields = (number: number, first: string) =>
    [first, 'P'].map((type, bottom) => {
      const isKey = type === 'I';
      const start = [ue(0), ue(type === 'P' ? 5 : 7), ue(0), number.toString(2).padStart(4, '0'), '1'];
      return unit(isKey ? 0x65 : 0x61, ...start, String(bottom));
    });
  const group = Array.from({ length: 8 }, (_, number) =>
    fields(number, number === 0 ? 'I' : number === 5 ? 'i' : 'P'),
  ).flat();
  const recovery = unit(6, '0000011000000001', ue(0));
  const verdicts = (pictures: Buffer[], gapBefore = -1) => {
    const check = new H264References();
    check.check(Buffer.concat([fieldSequence, parameters(0)]));
    return pictures
      .map((one, at) => check.check(one, at === gapBefore ? { packets: 2, isKey: false } : undefined)[0])
      .join('');
  };
  expect(verdicts([...group, ...group])).toBe('w'.repeat(32));
  // One picture is lost. The one of an I and a P field may refer to it.
  expect(verdicts([...group.toSpliced(6, 2), ...group], 6)).toBe(
    `${'w'.repeat(6)}${'s'.repeat(8)}${'w'.repeat(16)}`,
  );
  expect(verdicts(group.slice(10))).toBe('s'.repeat(6));
  const [first, ...others] = group.slice(10);
  expect(verdicts([Buffer.concat([recovery, first as Buffer]), ...others])).toBe('w'.repeat(6));
  // 300 bytes of user data come first in the same unit: types and sizes from 255 on take several bytes (7.3.2.3.1).
  const userData = ['00000101', '11111111', '00101101', '10101010'.repeat(300)];
  const after = unit(6, ...userData, '0000011000000001', ue(0));
  expect(verdicts([Buffer.concat([after, first as Buffer]), ...others])).toBe('w'.repeat(6));
});
