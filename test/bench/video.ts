// What a 720p frame weighs and costs as a part of a video segment, beside what it does as a JPEG.
//   npm run bench:video -- --help
import { annotateJpeg } from '@video-pipeline/functions';
import { packSegment, picturesOfSegment } from '@video-pipeline/storage';
import { encodeSegment } from '../../functions/src/clip-encoder.ts';
import { jpegs720p } from './footage.ts';
import { npmScript } from './options.ts';
import { cpuMs, kb, rounded, saveMeasured } from './save.ts';

const { save } = npmScript('bench:video', 'What a 720p frame weighs and costs as a part of a video.')
  .option('--save', 'keep the figures in docs/measured, for docs/capacity.md and capacity', false)
  .parse()
  .opts<{ save: boolean }>();

/** Of a segment: what a batch holds of one of two cameras, and of one alone. */
const LENGTHS = [1, 12, 25];
/** Of the footage's 25 frames a second, about ten are taken. */
const EVERY = 3;
const INTERVAL_MS = 100;
const START = 1_795_590_000_000;
const size = { width: 1280, height: 720 };
/** Two people, as a usual scene has them. */
const detections = [0, 1].map((index) => ({
  ...{ class_id: 0, class_name: 'person', confidence: 0.9, track_id: `t${index}` },
  bbox: [300 + 400 * index, 200, 420 + 400 * index, 560] as [number, number, number, number],
}));

const frames = (await jpegs720p(EVERY * 25)).filter((_, i) => i % EVERY === 0);
const draw = () => Promise.all(frames.map((jpeg) => annotateJpeg({ jpeg, ...size }, detections)));
const drawn = (await draw()).map((jpeg, i) => ({ capturedAt: START + i * INTERVAL_MS, jpeg }));
const segmentOf = async (count: number) => {
  const pictures = drawn.slice(0, count);
  const index = pictures.map(({ capturedAt }, i): [number, number] => [capturedAt, i]);
  return packSegment(await encodeSegment(pictures), { ...size, frames: index });
};
const whole = await segmentOf(drawn.length);
const weights = await Promise.all(
  LENGTHS.map(async (count) => [count, (await segmentOf(count)).length] as const),
);
const figures = {
  frameKb: kb(frames.reduce((sum, { length }) => sum + length, 0) / frames.length),
  annotatedKb: kb(drawn.reduce((sum, { jpeg }) => sum + jpeg.length, 0) / drawn.length),
  /** Of a frame in a segment of so many, its share of the head with it. */
  videoKb: Object.fromEntries(weights.map(([count, bytes]) => [count, kb(bytes / count)])),
  cpuMs: {
    draw: await cpuMs(frames.length, draw),
    encode: await cpuMs(frames.length, () => segmentOf(drawn.length)),
    /** Of the whole segment, for one picture of it. */
    read: rounded(drawn.length * (await cpuMs(frames.length, () => picturesOfSegment(whole)))),
  },
};
console.log(JSON.stringify(figures, undefined, 2));
if (save) saveMeasured('video', figures);
