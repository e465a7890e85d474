import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { annotatedKey, clipKey, encodeFrame } from '@video-pipeline/frame';
import { createTail } from '@video-pipeline/kafka';
import { type SceneEvent, sceneEventSchema } from '@video-pipeline/scene';
import { Decoder, Demuxer, Scaler } from 'node-av/api';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { unique } from '../support/unique.ts';
import { openS3Proxy, type Rig, SIZE, startRig } from './handlers-rig.ts';

const STREAM = 'yard';
const COUNT = 60;
const STEP_MS = 100;
/** Behind a JPEG's last byte no decoder looks: here stands the number of the frame, for the detector. */
const NUMBER_BYTES = 4;
/** Somebody walks to the right, 5 px a frame: over the middle with frame 25. */
const feet = (frame: number) => 40 + 5 * frame;

const scene = {
  zones: {
    right: {
      polygon: [
        [0.5, 0],
        [1, 0],
        [1, 1],
        [0.5, 1],
      ],
    },
  },
  events: [{ type: 'entered_zone', name: 'in', zone: 'right' }],
};
const settings = {
  STREAMS: JSON.stringify([{ id: STREAM, url: 'rtsp://camera', scene }]),
  EVENT_CLIPS: 'on',
  CLIP_BEFORE_SECONDS: '1.5',
  CLIP_AFTER_SECONDS: '1',
};

let rig: Rig;
let topics: Record<'frames' | 'detections' | 'events', string>;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  const see = (jpeg: Buffer) => {
    const x = feet(jpeg.readUInt32BE(jpeg.length - NUMBER_BYTES));
    const bbox: [number, number, number, number] = [x - 30, 60, x + 30, 180];
    return [{ class_id: 0, class_name: 'person', confidence: 0.9, bbox }];
  };
  rig = await startRig(see, openS3Proxy);
});
beforeEach(async () => {
  const id = unique('clip');
  topics = { frames: `${id}-frames`, detections: `${id}-detections`, events: `${id}-events` };
  env = { ...settings, KAFKA_DETECTIONS_TOPIC: topics.detections, KAFKA_EVENTS_TOPIC: topics.events };
  await rig.createTopics(Object.values(topics));
});
afterEach(() => rig.reset());
afterAll(() => rig?.stop());

async function publish(): Promise<void> {
  const records = Array.from({ length: COUNT }, (_, index) => {
    const frame = rig.frame(STREAM, index);
    const number = Buffer.alloc(NUMBER_BYTES);
    number.writeUInt32BE(index);
    return encodeFrame({ ...frame, jpeg: Buffer.concat([frame.jpeg, number]) });
  });
  await rig.publish(topics.frames, records);
}

async function onlyEvent(): Promise<SceneEvent> {
  const tail = createTail(rig.kafka);
  const events: SceneEvent[] = [];
  for await (const { value } of tail.newest(topics.events, STREAM, 100)) {
    events.push(sceneEventSchema.parse(JSON.parse(String(value))));
  }
  await tail.close();
  expect(events).toHaveLength(1);
  return events[0] as SceneEvent;
}

/** Times (milliseconds from the first) and luma of an MP4's pictures. */
async function decoded(mp4: Buffer) {
  const folder = await mkdtemp(join(tmpdir(), 'decoded-'));
  const path = join(folder, 'clip.mp4');
  await writeFile(path, mp4);
  const pictures: { time: number; luma: Buffer }[] = [];
  {
    await using input = await Demuxer.open(path);
    const video = input.video();
    if (!video) throw new Error('no video');
    using decoder = await Decoder.create(video);
    using scaler = new Scaler();
    const { num, den } = video.timeBase;
    for await (using frame of decoder.frames(input.packets(video.index))) {
      if (!frame) break;
      const time = Math.round((Number(frame.pts) * 1000 * num) / den);
      pictures.push({ time, luma: await lumaOf(await scaler.toPng(frame)) });
    }
  }
  await rm(folder, { recursive: true });
  return pictures;
}

const lumaOf = (picture: Buffer) => sharp(picture).greyscale().raw().toBuffer();

/** Peak signal-to-noise ratio of two planes, dB. */
function psnr(one: Buffer, other: Buffer): number {
  expect(one.length).toBe(other.length);
  const squares = one.reduce((sum, value, i) => sum + (value - (other[i] ?? 0)) ** 2, 0);
  return 10 * Math.log10(255 ** 2 / (squares / one.length));
}

const done = (stage: 'detect' | 'annotate' | 'clip', topic: string, group = `${topic}-${stage}`) =>
  vi.waitFor(async () => expect(await rig.lag(stage, topic, group)).toBe(0), {
    timeout: 60_000,
    interval: 200,
  });

test('an event gets one clip of the annotated frames around it, also when it is delivered twice', async () => {
  await publish();
  await rig.run('detect', topics.frames, [], env);
  await rig.run('clip', topics.events, [], env);
  await done('detect', topics.frames);
  const event = await onlyEvent();
  expect((event.at - rig.frame(STREAM, 0).capturedAt) / STEP_MS).toBe(24);
  // The function waits meanwhile for frames to be stored.
  await rig.run('annotate', topics.detections, [], env);
  await done('annotate', topics.detections);
  await done('clip', topics.events);
  expect(event.clip_key).toBe(clipKey(event));
  expect(await rig.keys('clips/')).toEqual([clipKey(event)]);

  const mp4 = await rig.read(clipKey(event));
  const pictures = await decoded(mp4);
  const times = Array.from({ length: 26 }, (_, i) => i * STEP_MS);
  expect(pictures.map(({ time }) => time)).toEqual(times);
  const { luma } = pictures.find(({ time }) => time === 1_500) ?? { luma: Buffer.of() };
  const annotated = async (frameNumber: number) => {
    const capturedAt = rig.frame(STREAM, frameNumber).capturedAt;
    return lumaOf(await rig.read(annotatedKey('annotated', { streamId: STREAM, capturedAt, frameNumber })));
  };
  expect(luma.length).toBe(SIZE.width * SIZE.height);
  const alike = await Promise.all([22, 23, 24, 25, 26].map(async (n) => psnr(luma, await annotated(n))));
  expect(alike[2]).toBeGreaterThan(30);
  // It is that frame and none beside it.
  expect(Math.max(...alike)).toBe(alike[2]);

  const again = unique('again');
  await rig.run('clip', topics.events, ['--group', again], env);
  await done('clip', topics.events, again);
  expect(await rig.keys('clips/')).toEqual([clipKey(event)]);
  expect((await rig.read(clipKey(event))).equals(mp4)).toBe(true);
  expect(await rig.keys('failed/')).toEqual([]);
});
