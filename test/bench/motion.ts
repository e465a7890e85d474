// What MOTION_THRESHOLD spares, and which frames with a person or a vehicle it misses, on the demo clips by the default model.
//   npm run bench:motion -- --help
import { basename } from 'node:path';
import { CLIPS, defaultModelPath, fetchAsset } from '@video-pipeline/assets';
import { readConfig } from '@video-pipeline/config';
import { JpegEncoder } from '../../ingest-host/src/jpeg.ts';
import { motionGate } from '../../ingest-host/src/motion-gate.ts';
import { Sampler } from '../../ingest-host/src/sampler.ts';
import { openSource } from '../../ingest-host/src/source/open.ts';
import { loadDetector, optionsForTool } from '../../model/src/load-detector.ts';
import { buildNanodet } from '../../model/src/nanodet/build.ts';
import { npmScript, positiveNumber } from './options.ts';

const { file, fps, confidence } = npmScript(
  'bench:motion',
  'What MOTION_THRESHOLD spares, and what it misses, by the default model.',
)
  .option('--file <clip...>', 'clips of your own; the demo clips without it')
  .option('--fps <n>', 'frames a second that are sampled', positiveNumber, 10)
  .option('--confidence <n>', 'of a person or vehicle that counts, up to 1', positiveNumber, 0.4)
  .parse()
  .opts<{ file?: string[]; fps: number; confidence: number }>();

/** `safe`, and shares of the picture: the least is one cell of the grid that is compared. */
const THRESHOLDS = ['safe' as const, 1 / 2304, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05];
const KEEPALIVE_SECONDS = 10;
const WANTED = new Set(['person', 'bicycle', 'car', 'motorcycle', 'bus', 'truck', 'train', 'boat']);
const MAX_PIXELS = 64e6;
/** Of the JPEGs that the model sees. */
const { MAX_FRAME_BYTES, JPEG_QUALITY } = readConfig(['MAX_FRAME_BYTES', 'JPEG_QUALITY'], {});

await buildNanodet(console.error);
const detector = await loadDetector(defaultModelPath(), optionsForTool(MAX_PIXELS));
const { signal } = new AbortController();
try {
  for (const path of file ?? (await fetchAsset(CLIPS))) await measure(path);
} finally {
  await detector.close();
}

async function measure(path: string): Promise<void> {
  const source = await openSource(path, { transport: 'tcp', timeoutSeconds: 10 });
  const sampler = new Sampler(fps);
  using encoder = new JpegEncoder(MAX_FRAME_BYTES, JPEG_QUALITY);
  const gates = THRESHOLDS.map((threshold) => ({
    threshold,
    gate: motionGate({ threshold, keepaliveSeconds: KEEPALIVE_SECONDS }),
    sent: 0,
    missed: 0,
  }));
  let [sampled, wanted] = [0, 0];
  for await (const { frame, time } of source.pictures()) {
    if (!sampler.keep(time)) continue;
    sampled++;
    const { jpeg } = await encoder.encode(frame);
    const [seen] = await detector.detect({
      pictures: [jpeg],
      threshold: confidence,
      client: 'bench',
      signal,
    });
    if (!seen || 'error' in seen) throw new Error(`${path}: ${seen?.error}`);
    const isWanted = seen.detections.some(({ class_name }) => WANTED.has(class_name));
    if (isWanted) wanted++;
    for (const one of gates) {
      const passes = await one.gate.passes(frame, time);
      if (passes) one.sent++;
      else if (isWanted) one.missed++;
    }
  }
  await source.close();
  console.log(`${basename(path)}: ${sampled} frames at ${fps} fps, ${wanted} with a person or a vehicle`);
  for (const { threshold, gate, sent, missed } of gates) {
    gate[Symbol.dispose]();
    const percent = (part: number, of: number) => `${((100 * part) / Math.max(1, of)).toFixed(1)} %`;
    console.log(
      `  ${String(threshold).slice(0, 6).padEnd(6)}  ${percent(sampled - sent, sampled).padStart(7)} of the frames spared, ` +
        `${missed} missed: recall ${percent(wanted - missed, wanted)}`,
    );
  }
}
