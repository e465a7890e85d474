import { readConfig } from '@video-pipeline/config';
import type { Frame } from '@video-pipeline/frame';
import { INFERENCE_VARIABLES } from '@video-pipeline/inference-client';
import { startFauxqs } from 'fauxqs';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { CANARY_VARIABLES, createDetector } from '../../functions/src/canary.ts';
import { type Alarm, canaryAlarms } from '../../infra/alarms.ts';
import { clipFrames } from './model-clips.ts';
import { type ModelProcess, startModel } from './model-process.ts';

let servers: Record<'main' | 'same' | 'worse', ModelProcess>;
let s3: Awaited<ReturnType<typeof startFauxqs>>;
let frames: Frame[];
const lines: Record<string, unknown>[] = [];

beforeAll(async () => {
  s3 = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  s3.createBucket('video-pipeline-output');
  vi.stubEnv('AWS_ENDPOINT_URL', `http://127.0.0.1:${s3.port}`);
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
  // One that drops no box of an object seen twice, so that it sees each of them many times.
  const [main, worse] = await Promise.all([
    startModel(['--threads', '1']),
    startModel(['--threads', '1', '--iou', '1']),
  ]);
  servers = { main, same: main, worse };
  const clips = await clipFrames(40, 1, async (scaler, frame) => ({
    jpeg: await scaler.toJpeg(frame, { quality: 85 }),
    width: frame.width,
    height: frame.height,
  }));
  frames = clips
    .flatMap(({ pictures }) => pictures)
    .map((picture, frameNumber) => ({
      streamId: 'yard',
      session: 's',
      capturedAt: 0,
      frameNumber,
      ...picture,
    }));
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    const line = String(text);
    if (line.includes('"variant"')) lines.push(JSON.parse(line));
    return true;
  });
});
afterAll(async () => {
  vi.restoreAllMocks();
  await Promise.all([servers?.main.stop(), servers?.worse.stop(), s3?.stop()]);
  vi.unstubAllEnvs();
});

/** Batches that are detected, and how many of a minute in production each stands for: a few say nothing to an alarm. */
const BATCHES = 4;
const STANDS_FOR = 300;

/** Values of a metric of one variant, as CloudWatch sums or averages them. */
function measured(name: string, variant: string, statistic: string): number {
  const values = lines
    .filter((one) => one.variant === variant && name in one)
    .map((one) => Number(one[name]));
  const sum = values.reduce((all, one) => all + one, 0);
  return statistic === 'Sum' ? sum * STANDS_FOR : sum / values.length;
}

/** What an alarm's expression of CloudWatch's metric math comes to. */
function evaluated({ metric }: Alarm): number {
  if (!('expression' in metric)) throw new Error('no expression');
  const known = {
    IF: (is: boolean, yes: number, no: number) => (is ? yes : no),
    FILL: (value: number, other: number) => (Number.isNaN(value) ? other : value),
    ABS: Math.abs,
    ...Object.fromEntries(
      Object.entries(metric.of).map(([id, { name, dimensions, statistic }]) => [
        id,
        measured(name, dimensions.variant ?? '', statistic),
      ]),
    ),
  };
  return new Function(...Object.keys(known), `return ${metric.expression}`)(...Object.values(known));
}

const compared = canaryAlarms('VideoPipeline/production');
const ringing = () => compared.filter((alarm) => evaluated(alarm) > alarm.threshold).map(({ key }) => key);

/** Detects batches with half of them given to that canary. */
async function detectWith(canary: ModelProcess, mode: 'canary' | 'shadow', batches: number) {
  lines.splice(0);
  let drawn = 0;
  vi.spyOn(Math, 'random').mockImplementation(() => (drawn++ % 2 ? 0.9 : 0.1));
  const detector = createDetector(
    { warn: vi.fn() },
    readConfig([...INFERENCE_VARIABLES, ...CANARY_VARIABLES], {
      INFERENCE_SERVICE_URL: servers.main.url,
      INFERENCE_CANARY_URL: canary.url,
      INFERENCE_CANARY_SHARE: '0.5',
      INFERENCE_CANARY_MODE: mode,
    }),
  );
  // The first looks whether the canary was stopped.
  await detector.detect(frames);
  await new Promise((resolve) => setTimeout(resolve, 300));
  lines.splice(0);
  drawn = 0;
  const seen = [];
  for (let batch = 0; batch < batches; batch++) seen.push(await detector.detect(frames));
  await expect.poll(() => measured('VariantCalls', 'canary', 'Sum')).toBeGreaterThan(0);
  return seen.map((results) =>
    results.reduce((sum, result) => sum + ('detections' in result ? result.detections.length : 0), 0),
  );
}

test('the alarms allow a canary that detects as the model in use does, and stop one that detects worse', async () => {
  expect(compared).toHaveLength(3);
  await detectWith(servers.same, 'canary', BATCHES);
  expect(ringing().filter((key) => key !== 'CanarySlow')).toEqual([]);
  const [worse = 0, main = 0] = await detectWith(servers.worse, 'canary', BATCHES);
  expect(worse).toBeGreaterThan(main);
  expect(ringing()).toContain('CanaryDetections');
});

test('a shadow that detects worse changes no result, and the metrics show it', async () => {
  const [first, second] = await detectWith(servers.worse, 'shadow', 4);
  expect(first).toBe(second);
  await expect.poll(() => measured('VariantAgreed', 'canary', 'Sum')).toBeGreaterThan(0);
  const agreed = measured('VariantAgreed', 'canary', 'Sum');
  expect(agreed).toBeLessThan(measured('VariantDetections', 'canary', 'Sum'));
});
