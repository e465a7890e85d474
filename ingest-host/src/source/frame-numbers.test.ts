import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FormatContext, Packet } from 'node-av/lib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { evenTimes, makeVideo } from '../../../test/support/video.ts';
import { FrameNumbers } from './frame-numbers.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'frames-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Coded pictures, in decoding order. */
async function pictures(bFrames: number): Promise<Buffer[]> {
  const path = await makeVideo(join(folder, `${bFrames}.ts`), { times: evenTimes(60, 25), gop: 30, bFrames });
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

const gaps = (all: Buffer[]) => {
  const numbers = new FrameNumbers();
  return all.flatMap((picture, index) => (numbers.isGap(picture) ? [index] : []));
};

test('a stream that is whole has no gap', async () => {
  for (const bFrames of [0, 3]) expect(gaps(await pictures(bFrames))).toEqual([]);
});

test('a picture that others build on is missed, wherever it was', async () => {
  const all = await pictures(0);
  for (const lost of [1, 7, 15, 28, 31, 45]) expect(gaps(all.toSpliced(lost, 1)), `${lost}`).toEqual([lost]);
  expect(gaps(all.toSpliced(29, 1)), 'the last before a key frame').toEqual([]);
  expect(gaps(all.toSpliced(10, 4))).toEqual([10]);
});

test('bytes that are no H.264 are no gap', () => {
  const numbers = new FrameNumbers();
  for (const text of ['', '\0\0\x01', '\0\0\x01g', '\0\0\x01\x65', '\0\0\0\x0eAVCC']) {
    expect(numbers.isGap(Buffer.from(text, 'latin1'))).toBe(false);
  }
});
