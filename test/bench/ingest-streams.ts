// How many cameras the ingest host alone carries: one more at each step, until a frame is late or dropped.
//   npm run bench:streams -- --help
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startKafka } from '@video-pipeline/local';
import { climb } from './climb.ts';
import { footage720p } from './footage.ts';
import { makeTopics } from './kafka.ts';
import { frameRate, npmScript, positiveInteger, positiveNumber } from './options.ts';
import { held, type Measured, meterCpu, start } from './processes.ts';

const options = npmScript(
  'bench:streams',
  'How many RTSP cameras of 720p25 the ingest host alone carries; cameras and Kafka run on the same machine.',
)
  .option('--fps <rate>', 'frames a second of each camera', frameRate, 10)
  .option('--cameras <n>', 'cameras of the first step', positiveInteger, 1)
  .option('--seconds <n>', 'how long a step is watched', positiveNumber, 30)
  .option('--json', 'print JSON', false)
  .parse()
  .opts<{ fps: number; cameras: number; seconds: number; json: boolean }>();
const FPS = options.fps;
/** A step holds while so much of what was asked for is published, none dropped. */
const MIN_SHARE = 0.98;
const WARM_MS = 5_000;
const root = join(import.meta.dirname, '../..');

interface Step {
  cameras: number;
  /** Frames a second that Kafka acknowledged. */
  published: number;
  dropped: number;
  /** Milliseconds from capture to Kafka's acknowledgement, mean. */
  latencyMs: number;
  /** Of one core, by process. */
  cpu: Record<string, number>;
  residentMiB: number;
}

interface Totals {
  published: number;
  dropped: number;
  latencySeconds: number;
}

const dataDir = await mkdtemp(join(tmpdir(), 'bench-streams-'));
await using stack = new AsyncDisposableStack();
stack.defer(() => rm(dataDir, { recursive: true, force: true }));
const kafka = await startKafka({ dataDir });
stack.defer(() => kafka.stop());
await makeTopics(kafka.bootstrap, ['ingest'], 6);
const clip = await footage720p();
const camera = await start('camera', [
  join(root, 'packages/camera/src/main.ts'),
  '--port',
  '0',
  `it=${clip}`,
]);
stack.defer(() => camera.stop());
const steps = await climb(options.cameras, { measure, holds, line });
console.log(options.json ? JSON.stringify({ steps, held: heldCameras(steps) }) : report(steps));

function holds({ cameras, published, dropped }: Step): boolean {
  return dropped === 0 && published >= MIN_SHARE * cameras * FPS;
}

async function measure(cameras: number): Promise<Step> {
  const streams = Array.from({ length: cameras }, (_, n) => ({ id: `camera-${n}`, url: `${camera.url}/it` }));
  const ingest = await start('ingest', [join(root, 'ingest-host/src/main.ts')], {
    STREAMS: JSON.stringify(streams),
    KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap,
    KAFKA_TOPIC: 'ingest',
    FRAME_RATE: String(FPS),
    HEALTH_PORT: '0',
  });
  try {
    await sleep(WARM_MS);
    const meter = meterCpu([ingest, camera, { name: 'kafka', pid: kafka.pid }]);
    const [before, began] = [await totals(ingest), performance.now()];
    await sleep(options.seconds * 1000);
    const [after, seconds] = [await totals(ingest), (performance.now() - began) / 1000];
    const published = after.published - before.published;
    return {
      cameras,
      published: published / seconds,
      dropped: after.dropped - before.dropped,
      latencyMs: (1000 * (after.latencySeconds - before.latencySeconds)) / published,
      cpu: Object.fromEntries(Object.entries(meter.stop()).map(([name, ms]) => [name, ms / 1000 / seconds])),
      residentMiB: held(ingest.pid).residentMiB,
    };
  } finally {
    await ingest.stop();
  }
}

/** Of all streams, from the ingest host's own metrics. */
async function totals({ url }: Measured): Promise<Totals> {
  const text = await (await fetch(new URL('/metrics', url))).text();
  const total = (name: string) =>
    [...text.matchAll(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'gm'))].reduce(
      (sum, [, value]) => sum + Number(value),
      0,
    );
  return {
    published: total('ingest_frames_published_total'),
    dropped: total('ingest_frames_dropped_total'),
    latencySeconds: total('ingest_capture_to_publish_seconds_sum'),
  };
}

function line({ cameras, published, dropped, latencyMs, cpu, residentMiB }: Step): string {
  const others = ['camera', 'kafka'].map((name) => `${name} ${percent(cpu[name])}`).join(', ');
  return (
    `${cameras} cameras: ${published.toFixed(1)} of ${cameras * FPS} frames/s published, ${dropped} dropped, ` +
    `${latencyMs.toFixed(0)} ms after capture; ingest ${percent((cpu.ingest ?? 0) / cameras)} of a core and ` +
    `${(residentMiB / cameras).toFixed(0)} MiB a camera (${percent(cpu.ingest)}, ${residentMiB.toFixed(0)} MiB), ${others}`
  );
}

function percent(share = Number.NaN): string {
  return `${(100 * share).toFixed(0)} %`;
}

function heldCameras(steps: Step[]): number {
  return steps.filter(holds).at(-1)?.cameras ?? 0;
}

function report(steps: Step[]): string {
  const [one, last] = [steps[0], steps.at(-1)];
  const more =
    one && last && last !== one
      ? `each further camera takes ${((last.residentMiB - one.residentMiB) / (last.cameras - one.cameras)).toFixed(0)} MiB`
      : '';
  return [
    `machine  ${cpus().length} x ${cpus()[0]?.model.trim()}, node ${process.version}; cameras of 720p25 H.264, sampled at ${FPS} frames/s`,
    ...steps.map(line),
    `holds    ${heldCameras(steps)} cameras; ${more}`,
  ].join('\n');
}
