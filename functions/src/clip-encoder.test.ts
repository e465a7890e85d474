import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AV_LOG_QUIET } from 'node-av/constants';
import { Codec, CodecContext, FormatContext, Frame, Log, Packet } from 'node-av/lib';
import sharp from 'sharp';
import { expect, test, vi } from 'vitest';
import { manyScans } from '../../test/support/many-scans.ts';
import { encodeClip, encodeSegment } from './clip-encoder.ts';
import { ClipEncodingError } from './picture-reader.ts';

Log.setLevel(AV_LOG_QUIET);

/** A grey picture, 0..255. */
const jpegOf = (grey: number, width = 64, height = 48) =>
  sharp({ create: { width, height, channels: 3, background: { r: grey, g: grey, b: grey } } })
    .jpeg()
    .toBuffer();
const START = 1_795_590_000_000;
const picturesAt = (offsets: number[], width?: number, height?: number) =>
  Promise.all(
    offsets.map(async (offset, i) => ({
      capturedAt: START + offset,
      jpeg: await jpegOf(40 + i * 20, width, height),
    })),
  );

/** Size, times (milliseconds) and mean luma of the pictures of an MP4. */
async function decoded(mp4: Buffer) {
  const folder = await mkdtemp(join(tmpdir(), 'decoded-'));
  const path = join(folder, 'clip.mp4');
  await writeFile(path, mp4);
  await using input = new FormatContext();
  await input.openInput(path);
  await input.findStreamInfo();
  const [stream] = input.streams;
  if (!stream) throw new Error('no video');
  using decoder = new CodecContext();
  const codec = Codec.findDecoder(stream.codecpar.codecId);
  decoder.allocContext3(codec);
  decoder.parametersToContext(stream.codecpar);
  await decoder.open2(codec);
  using packet = new Packet();
  using frame = new Frame();
  packet.alloc();
  frame.alloc();
  const times: number[] = [];
  const luma: number[] = [];
  const drain = async () => {
    while ((await decoder.receiveFrame(frame)) >= 0) {
      times.push(Math.round((Number(frame.pts) * 1000 * stream.timeBase.num) / stream.timeBase.den));
      const plane = frame.toBuffer().subarray(0, frame.width * frame.height);
      luma.push(plane.reduce((sum, value) => sum + value, 0) / plane.length);
    }
  };
  while ((await input.readFrame(packet)) >= 0) {
    await decoder.sendPacket(packet);
    await drain();
    packet.unref();
  }
  await decoder.sendPacket(null);
  await drain();
  const { width, height, level } = decoder;
  await rm(folder, { recursive: true });
  return { width, height, level, times, luma, duration: Number(input.duration) / 1000 };
}

test("pictures that exceed the encoder's height are scaled down", async () => {
  const { width, height } = await decoded(await encodeClip(await picturesAt([0, 100], 4, 32_768)));
  expect([width, height]).toEqual([2, 16_384]);
});

test('each picture is shown at its time, to the millisecond, with its brightness', async () => {
  const offsets = [0, 107, 214, 300, 1_000, 1_033];
  const clip = await decoded(await encodeClip(await picturesAt(offsets)));
  expect(clip.times).toEqual(offsets);
  // The last one for as long as the others on average.
  expect(clip.duration).toBeCloseTo(1_033 + 1_033 / 5, -1);
  for (const [i, luma] of clip.luma.entries()) {
    // From full range to that of video, 16..235.
    expect(Math.abs(luma - (16 + ((40 + i * 20) * 219) / 255))).toBeLessThan(2);
  }
  expect(clip.level).toBeLessThanOrEqual(31);
});

test('a segment is one CMAF fragment, with each picture at its time of the hour, no two at the same time', async () => {
  const offsets = [5_000, 5_107, 5_107, 5_108, 6_033];
  const hour = START - (START % 3_600_000);
  const pictures = (await picturesAt(offsets)).map((one) => ({
    ...one,
    capturedAt: one.capturedAt - START + hour,
  }));
  const segment = await encodeSegment(pictures);
  const types = [...segment.toString('latin1').matchAll(/ftyp|moov|moof|mdat|mfra|cmfc/g)].map(String);
  expect(types).toEqual(['ftyp', 'cmfc', 'moov', 'moof', 'mdat']);
  const { times, luma } = await decoded(segment);
  expect(times).toEqual([5_000, 5_107, 5_108, 5_109, 6_033]);
  for (const [i, one] of luma.entries())
    expect(Math.abs(one - (16 + ((40 + i * 20) * 219) / 255))).toBeLessThan(2);
  expect(await encodeSegment(pictures)).toEqual(segment);
});

test('each segment repeats the picture size, for players that keep the header of another segment', async () => {
  const [small, large] = await Promise.all([
    encodeSegment(await picturesAt([5_000, 5_100])),
    encodeSegment(await picturesAt([6_000, 6_100, 6_200], 128, 96)),
  ]);
  const fragment = large.subarray(large.indexOf('moof') - 4);
  const seen = await decoded(Buffer.concat([small, fragment]));
  expect([seen.width, seen.height, seen.times.length]).toEqual([128, 96, 5]);
});

test('the index comes before the pictures, and the same pictures give the same bytes', async () => {
  const pictures = await picturesAt([0, 100, 200], 256, 144);
  const mp4 = await encodeClip(pictures);
  expect(mp4.subarray(4, 8).toString()).toBe('ftyp');
  expect(mp4.indexOf('moov')).toBeLessThan(mp4.indexOf('mdat'));
  expect((await encodeClip(pictures)).equals(mp4)).toBe(true);
});

test('a wide picture is scaled down, odd sides become even, and later pictures get the size of the first', async () => {
  const { width, height } = await decoded(await encodeClip(await picturesAt([0, 100], 1920, 1080)));
  expect([width, height]).toEqual([1280, 720]);
  const mixed = [...(await picturesAt([0], 63, 49)), ...(await picturesAt([100], 128, 96))];
  mixed[1] = { capturedAt: START + 100, jpeg: await jpegOf(60, 128, 96) };
  const clip = await decoded(await encodeClip(mixed));
  expect([clip.width, clip.height]).toEqual([64, 50]);
  expect(clip.times).toEqual([0, 100]);
});

test('a single picture gives a clip of one second, and of two pictures with one time the first is used', async () => {
  const one = await decoded(await encodeClip(await picturesAt([0])));
  expect([one.times, Math.round(one.duration)]).toEqual([[0], 1_000]);
  const twice = await picturesAt([0, 0, 100, 100]);
  expect((await decoded(await encodeClip(twice))).times).toEqual([0, 100]);
});

test('an invalid picture is an error that names it, and leaves no file behind', async () => {
  const jpeg = await jpegOf(90);
  // Others make clips meanwhile.
  const folder = await mkdtemp(join(tmpdir(), 'own-'));
  vi.stubEnv('TMPDIR', folder);
  const broken = [Buffer.from('no JPEG'), jpeg.subarray(0, 100), await manyScans(3000)];
  for (const bytes of broken) {
    const pictures = [
      { capturedAt: 0, jpeg },
      { capturedAt: 100, jpeg: bytes },
    ];
    await expect(encodeClip(pictures)).rejects.toThrow(ClipEncodingError);
  }
  await expect(encodeClip([])).rejects.toThrow('there are no pictures');
  expect(await readdir(folder)).toEqual([]);
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});
