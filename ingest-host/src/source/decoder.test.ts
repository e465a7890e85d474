import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { AV_CODEC_FLAG_OUTPUT_CORRUPT } from 'node-av/constants';
import { Codec, CodecContext, FormatContext, Packet } from 'node-av/lib';
import { afterAll, expect, test } from 'vitest';
import { evenTimes, makeVideo, type VideoOptions, videoFolder } from '../../../test/support/video.ts';
import { RawFrame } from '../raw-frame.ts';
import { VideoDecoder } from './decoder.ts';
import { lossMarkerOf } from './nal-units.ts';

const folder = await videoFolder();
afterAll(() => folder.remove());

/** Noise that moves: each picture differs from the others all over. */
const noise = (x: number, y: number, index: number) => 40 + ((x * 7 + y * 13 + index * (3 + (x >> 4))) % 170);

const digest = (frame: RawFrame) => createHash('md5').update(frame.toBuffer()).digest('hex');

async function read(codec: 'libx264' | 'libx265', more: Partial<VideoOptions> = {}) {
  const path = folder.path(`${codec}-${more.gop}.ts`);
  const size = { width: 160, height: 96 };
  const options = { times: evenTimes(48, 25), gop: 24, bFrames: 3, luma: noise, codec, ...size, ...more };
  return await readVideo(await makeVideo(path, options));
}

async function readVideo(path: string) {
  const input = new FormatContext();
  await input.openInput(path);
  const [stream] = input.streams;
  if (!stream) throw new Error('no video');
  const packets: Packet[] = [];
  for (;;) {
    const packet = new Packet();
    packet.alloc();
    if ((await input.readFrame(packet)) < 0) return { input, stream, packets };
    packets.push(packet);
  }
}

type Video = Awaited<ReturnType<typeof read>>;

/** Pictures by time, as ingest has them. */
async function ours({ stream }: Video, packets: Packet[]): Promise<Map<bigint, string>> {
  const options = { fromNetwork: true, inSegments: false, damage: undefined, hwaccel: undefined };
  const decoder = await VideoDecoder.open(stream, options);
  using frame = new RawFrame();
  frame.alloc();
  const pictures = new Map<bigint, string>();
  const receive = () => {
    while (decoder.receive(frame)) pictures.set(frame.pts, digest(frame));
  };
  for (const packet of packets) {
    using copy = packet.clone() ?? packet;
    for (const step of decoder.steps(copy)) {
      await decoder.decode(step, true);
      receive();
    }
  }
  await decoder.decode(null, true);
  receive();
  decoder.close();
  return pictures;
}

/** As FFmpeg has them, smeared ones too. */
async function plain({ stream }: Video, packets: Packet[]): Promise<Map<bigint, string>> {
  const codec = Codec.findDecoder(stream.codecpar.codecId);
  if (!codec) throw new Error('no decoder');
  using context = new CodecContext();
  context.allocContext3(codec);
  context.parametersToContext(stream.codecpar);
  context.threadCount = 1;
  context.clearFlags(AV_CODEC_FLAG_OUTPUT_CORRUPT);
  await context.open2(codec);
  using frame = new RawFrame();
  frame.alloc();
  const pictures = new Map<bigint, string>();
  for (const packet of [...packets, null]) {
    await context.sendPacket(packet);
    while (context.receiveFrameSync(frame) >= 0) pictures.set(frame.pts, digest(frame));
  }
  return pictures;
}

test.each([
  ['libx264', 40],
  ['libx265', 24],
] as const)(
  '%s: after the loss of any picture, all published pictures are undamaged',
  async (codec, least) => {
    const video = await read(codec);
    const { packets } = video;
    const whole = await plain(video, packets);
    expect(await ours(video, packets)).toEqual(whole);
    for (let lost = 1; lost < 13; lost += 1) {
      const rest = packets.toSpliced(lost, 1);
      const [given, all] = [await ours(video, rest), await plain(video, rest)];
      for (const [time, picture] of given) expect(picture, `${time} without ${lost}`).toBe(whole.get(time));
      // Some of FFmpeg's are right by chance: what they build on did not come, but happens to look alike.
      const right = [...all].filter(([time, picture]) => whole.get(time) === picture).length;
      expect(given.size, `without ${lost}`).toBeGreaterThan(right - 5);
      // A B picture that others build on: the next P picture does not, so that the stream goes on before its next key frame.
      if (lost === 2) expect(given.size).toBeGreaterThanOrEqual(least);
    }
    await video.input.closeInput();
  },
);

/** The packet as it arrives after a gap of RTP packets. */
function marked(packet: Packet, codec: 'H264' | 'H265', packets: number): Packet {
  const copy = packet.clone();
  if (!copy) throw new Error('no memory');
  const start = Buffer.from([0, 0, 0, 1]);
  copy.data = Buffer.concat([start, lossMarkerOf({ packets, isKey: false }, codec), packet.data ?? start]);
  return copy;
}

// The numbers of pictures come round at 16 here.
test.each([
  ['libx264', 17, 0],
  ['libx264', 2, 0],
  ['libx264', 3, 2],
  ['libx265', 2, 0],
] as const)(
  '%s: the loss of a key frame of one packet is detected, with a GOP of %i and %i B frames',
  async (codec, gop, bFrames) => {
    const times = evenTimes(2 * gop + 5, 25);
    const video = await read(codec, { times, gop, bFrames, luma: (x, y, index) => noise(x, y, index * 3) });
    const { packets } = video;
    const whole = await plain(video, packets);
    const key = packets.findIndex(({ isKeyframe }, at) => at > 0 && isKeyframe);
    expect(key).toBe(gop);
    const next = marked(packets[key + 1] as Packet, codec === 'libx264' ? 'H264' : 'H265', 1);
    const given = await ours(video, [...packets.slice(0, key), next, ...packets.slice(key + 2)]);
    for (const [time, picture] of given) expect(picture, `${time}`).toBe(whole.get(time));
    expect(given.size).toBe(packets.length - gop);
    await video.input.closeInput();
  },
);

const TS_PACKET = 188;

test.each(['libx264', 'libx265'] as const)(
  '%s in MPEG-TS: after any packet loss, published pictures are undamaged, and resume before a key frame',
  async (codec) => {
    const path = folder.path(`${codec}-40.ts`);
    const size = { width: 160, height: 96 };
    await makeVideo(path, { times: evenTimes(60, 25), gop: 40, bFrames: 3, luma: noise, codec, ...size });
    const video = await readVideo(path);
    const whole = await plain(video, video.packets);
    await video.input.closeInput();
    const bytes = await readFile(path);
    const count = bytes.length / TS_PACKET;
    const shares: number[] = [];
    // From the second picture on, every so often. At 16 packets their counter comes round, and nothing tells.
    for (let [at, lost] = [Math.round(count / 10), 1]; at < count - 20; at += 19, lost = (lost + 4) % 15) {
      const damaged = `${path}-damaged.ts`;
      const [start, end] = [bytes.subarray(0, at * TS_PACKET), bytes.subarray((at + lost) * TS_PACKET)];
      await writeFile(damaged, Buffer.concat([start, end]));
      const rest = await readVideo(damaged);
      const given = await ours(rest, rest.packets);
      for (const [time, picture] of given)
        expect(picture, `${time} without ${lost} from ${at}`).toBe(whole.get(time));
      shares.push(given.size);
      await rest.input.closeInput();
    }
    expect(shares.length).toBeGreaterThan(10);
    // The loss of a B picture that nothing builds on costs one, not the rest of the 40.
    expect(Math.max(...shares)).toBeGreaterThanOrEqual(whole.size - 2);
  },
);
