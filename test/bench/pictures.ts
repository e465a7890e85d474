// What a frame weighs on its way, in Kafka, in a Lambda's event and in S3, and what its picture costs a processor.
//   npm run bench:pictures -- --help
import { globSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  annotatedKey,
  type DetectedFrame,
  type EncodedRecord,
  encodeDetectedFrame,
  encodeFrame,
  encodeReference,
  factsOf,
  toLambdaEvent,
  toLambdaRecord,
} from '@video-pipeline/frame';
import { orderedProducer } from '@video-pipeline/kafka';
import { startKafka } from '@video-pipeline/local';
import { readPictureHeader } from '@video-pipeline/picture';
import { giveBack } from '@video-pipeline/picture/codec';
import { packArchive } from '@video-pipeline/storage';
import { annotateJpeg } from '../../functions/src/drawing/annotate-jpeg.ts';
import { letterbox } from '../../model/src/letterbox.ts';
import { resizeLinear } from '../../model/src/resize.ts';
import { jpegs720p } from './footage.ts';
import { benchKafka, makeTopics } from './kafka.ts';
import { npmScript } from './options.ts';
import { cpuMs, kb, saveMeasured } from './save.ts';

const { save } = npmScript(
  'bench:pictures',
  'What a 720p frame weighs on its way, and what its picture costs.',
)
  .option('--save', 'keep the figures in docs/measured, for docs/capacity.md and capacity', false)
  .parse()
  .opts<{ save: boolean }>();

/** Of a batch. */
const FRAMES = 25;
const QUALITIES = [85, 70];
/** YOLOv8n's. */
const INPUT = { kind: 'rectangle', longest: 640, stride: 32 } as const;
/** Two people, as a usual scene has them. */
const detections: DetectedFrame['detections'] = Array.from({ length: 2 }, (_, index) => ({
  class_id: 0,
  class_name: 'person',
  confidence: 0.913 - index / 10,
  bbox: [100.4 + 200 * index, 200.2, 220.9 + 200 * index, 560.7],
  track_id: `gate-${index}-1795590000900`,
}));

const framesOf = (jpegs: Buffer[]): DetectedFrame[] =>
  jpegs.map((jpeg, frameNumber) => ({
    ...{ streamId: 'gate', frameNumber, session: 'bench', capturedAt: 1_795_590_000_000 + 100 * frameNumber },
    ...{ width: 1280, height: 720, jpeg, detections, model: 'yolov8n' },
  }));

const qualities: Record<string, object> = {};
for (const quality of QUALITIES) {
  const frames = framesOf(await jpegs720p(FRAMES, quality));
  const drawn = await Promise.all(
    frames.map(async (frame) => {
      const jpeg = await annotateJpeg(frame, detections, { quality, optimise: true });
      return {
        frame,
        jpeg,
        line: JSON.stringify({ ...factsOf(frame), annotated_key: annotatedKey('annotated', frame) }),
      };
    }),
  );
  const mean = (sizes: number[]) => kb(sizes.reduce((sum, size) => sum + size) / FRAMES);
  qualities[quality] = {
    frameKb: mean(frames.map(({ jpeg }) => jpeg.length)),
    annotatedKb: mean(
      await Promise.all(
        frames.map(async (frame) => (await annotateJpeg(frame, detections, { quality })).length),
      ),
    ),
    optimisedKb: mean(drawn.map(({ jpeg }) => jpeg.length)),
    archivedKb: mean([packArchive(drawn).body.length]),
    lineKb: mean(drawn.map(({ line }) => line.length)),
  };
}

const frames = framesOf(await jpegs720p(FRAMES));
const place = { topic: 'video-frames', partition: 3, offset: 47_110_815 };
const forms: Record<string, EncodedRecord[]> = {
  frames: frames.map(encodeFrame),
  detections: frames.map(encodeDetectedFrame),
  references: frames.map((frame) =>
    encodeReference(frame, { ...place, annotated_key: annotatedKey('annotated', frame) }),
  ),
};
// Only now: it takes from this process what loads labels.
const { decodePicture } = await import('../../model/src/picture.ts');
const figures = {
  frames: FRAMES,
  qualities,
  batchKb: await weigh(forms),
  cpuMs: {
    annotate: await ofEach((jpeg) => annotateJpeg({ jpeg, width: 1280, height: 720 }, detections)),
    annotateOptimised: await ofEach((jpeg) =>
      annotateJpeg({ jpeg, width: 1280, height: 720 }, detections, { optimise: true }),
    ),
    forModel: await ofEach(async (jpeg) => {
      const { rgb } = await decodePicture(jpeg, readPictureHeader(jpeg, { maxPixels: 50e6 }), {
        place: (width, height) => letterbox(width, height, INPUT),
        resize: 'fast',
        scale: resizeLinear,
      });
      giveBack(rgb);
    }),
  },
};
console.log(JSON.stringify(figures, undefined, 2));
if (save) saveMeasured('pictures', figures);

/** Of a batch in each form, kilobytes: as the broker keeps it, and as JSON in an event. */
async function weigh(forms: Record<string, EncodedRecord[]>) {
  const dataDir = await mkdtemp(join(tmpdir(), 'bench-pictures-'));
  const kafka = await startKafka({ dataDir, note: () => {} });
  try {
    await makeTopics(kafka.bootstrap, Object.keys(forms), 1);
    const producer = orderedProducer(benchKafka(kafka.bootstrap));
    await producer.connect();
    const weights: Record<string, { kafka: number; event: number; headersInEvent: number }> = {};
    for (const [topic, records] of Object.entries(forms)) {
      await producer.send({ topic, messages: records });
      const logs = globSync(`**/${topic}-0/*.log`, { cwd: dataDir });
      const source = {
        eventSourceArn: 'arn:aws:kafka:us-east-1:123456789012:cluster/a/b',
        bootstrapServers: '',
      };
      const list = records.map((record) =>
        toLambdaRecord({ ...place, offset: String(place.offset), timestamp: 1_795_590_000_000 }, record),
      );
      weights[topic] = {
        kafka: kb(logs.reduce((sum, log) => sum + statSync(join(dataDir, log)).size, 0)),
        event: kb(JSON.stringify(toLambdaEvent(list, source)).length),
        headersInEvent: kb(list.reduce((sum, { headers }) => sum + JSON.stringify(headers).length, 0)),
      };
    }
    await producer.disconnect();
    return weights;
  } finally {
    await kafka.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** Processor time of some work on each picture, milliseconds. */
function ofEach(work: (jpeg: Buffer) => Promise<unknown>): Promise<number> {
  return cpuMs(FRAMES, async () => {
    for (const { jpeg } of frames) await work(jpeg);
  });
}
