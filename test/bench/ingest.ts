// CPU time of ingest beside the usual way (OpenCV and confluent-kafka) and the ffmpeg command, and picture quality.
//   npm run bench:ingest -- --help
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { compileCacheDir } from '@video-pipeline/assets';
import { startKafka } from '@video-pipeline/local';
import { AV_CODEC_ID_MJPEG } from 'node-av/constants';
import { Codec, CodecContext, Frame, Packet } from 'node-av/lib';
import { JpegEncoder } from '../../ingest-host/src/jpeg.ts';
import { PictureFilter } from '../../ingest-host/src/picture-filter.ts';
import { openSource } from '../../ingest-host/src/source/open.ts';
import { footage720p } from './footage.ts';
import { makeTopics } from './kafka.ts';
import { npmScript, positiveInteger } from './options.ts';
import { type PythonPeer, peerPython } from './peers/python.ts';
import { mean, median, meterCpu } from './processes.ts';

const options = npmScript(
  'bench:ingest',
  'CPU time and picture quality of ingest beside OpenCV and the ffmpeg command.',
)
  .option('--repeat <n>', 'how often each is measured', positiveInteger, 3)
  .option('--file <clip.mp4>', 'what to read; synthetic 720p without it')
  .option('--json', 'print JSON', false)
  .parse()
  .opts<{ repeat: number; file?: string; json: boolean }>();
const RATE = 10;
const QUALITY = 85;
/** At which ours is about as faithful as OpenCV's at QUALITY. */
const EQUAL_QUALITY = 80;
/** At which OpenCV's are about as large as ours at EQUAL_QUALITY. */
const EQUAL_BYTES_QUALITY = 70;
/** No limit here: the peers have none. */
const MAX_BYTES = 900_000;
const EQUAL_NAME = `ingest, quality ${EQUAL_QUALITY}`;
/** One picture in so many has its quality measured. */
const STEP = 25;
const root = resolve(import.meta.dirname, '../..');
const OPENCV: PythonPeer = {
  name: 'opencv',
  packages: ['opencv-python-headless==5.0.0.93', 'confluent-kafka==2.16.1', 'numpy==2.4.6'],
};
const run = promisify(execFile);
const note = (line: string) => void process.stderr.write(`${line}\n`);

/** CPU seconds of a process from its start to its end, children left out. */
async function cpuSeconds(command: string[], env: Record<string, string> = {}): Promise<number> {
  const [file = '', ...args] = command;
  const meter = meterCpu([]);
  const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-2000);
  });
  meter.add({ name: 'it', pid: child.pid ?? Number.NaN });
  const [code] = await once(child, 'exit');
  const { it = Number.NaN } = meter.stop();
  if (code !== 0) throw new Error(`${file} ended with ${code}: ${errors}`);
  return it / 1000;
}

interface Quality {
  bytes: number;
  /** Luma, dB, over all measured pictures. */
  psnr: number;
}

function summarize(pictures: { bytes: number; squaredError: number }[]): Quality {
  const error = mean(pictures.map(({ squaredError }) => squaredError));
  return { bytes: mean(pictures.map(({ bytes }) => bytes)), psnr: 10 * Math.log10(255 ** 2 / error) };
}

/** Our JPEGs against the same pictures before the JPEG. */
async function ourQuality(file: string, quality: number): Promise<Quality> {
  const source = await openSource(file, { transport: 'tcp', timeoutSeconds: 10 });
  using encoder = new JpegEncoder(MAX_BYTES, quality);
  const filter = new PictureFilter();
  const pictures: { bytes: number; squaredError: number }[] = [];
  let index = 0;
  for await (const { frame } of source.pictures()) {
    if (index++ % STEP !== 0) continue;
    const { width, height } = frame;
    const before = (await filter.apply(frame, width, height)).toBuffer().subarray(0, width * height);
    const { jpeg } = await encoder.encode(frame);
    const after = lumaOf(jpeg);
    let sum = 0;
    for (let at = 0; at < before.length; at += 1) sum += ((before[at] ?? 0) - (after[at] ?? 0)) ** 2;
    pictures.push({ bytes: jpeg.length, squaredError: sum / before.length });
  }
  filter.close();
  await source.close();
  return summarize(pictures);
}

/** Luma samples as they stand in the JPEG, row by row; a way through RGB would weigh the colours anew. */
function lumaOf(jpeg: Buffer): Buffer {
  using decoder = new CodecContext();
  const codec = Codec.findDecoder(AV_CODEC_ID_MJPEG);
  decoder.allocContext3(codec);
  decoder.threadCount = 1;
  using packet = new Packet();
  packet.alloc();
  packet.data = jpeg;
  using frame = new Frame();
  frame.alloc();
  const codes = [decoder.open2Sync(codec), decoder.sendPacketSync(packet), decoder.receiveFrameSync(frame)];
  if (codes.some((code) => code < 0)) throw new Error(`can't decode our own JPEG: ${codes}`);
  return frame.toBuffer().subarray(0, frame.width * frame.height);
}

function hasFfmpeg(): boolean {
  try {
    execFileSync('ffmpeg', ['-version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

async function measure(bootstrap: string) {
  const file = options.file ?? (await footage720p());
  const python = await peerPython(OPENCV);
  const peer = join(import.meta.dirname, 'peers', 'ingest.py');
  const ours = (quality: number) => ({
    STREAMS: JSON.stringify([{ id: 'bench', url: file }]),
    KAFKA_BOOTSTRAP_SERVERS: bootstrap,
    KAFKA_TOPIC: 'ingest',
    FRAME_RATE: String(RATE),
    JPEG_QUALITY: String(quality),
    MAX_FRAME_BYTES: String(MAX_BYTES),
    HEALTH_PORT: '0',
    // As the local stack starts it; Python keeps what it compiled by itself.
    NODE_COMPILE_CACHE: compileCacheDir(),
  });
  const main = [process.execPath, join(root, 'ingest-host/src/main.ts')];
  const produce = [peer, 'produce', file, bootstrap, 'opencv', String(RATE), String(QUALITY)];
  const ffmpeg = [
    '-v',
    'quiet',
    '-threads',
    '1',
    '-i',
    file,
    '-vf',
    `fps=${RATE}`,
    '-q:v',
    '2',
    '-f',
    'image2pipe',
    '-',
  ];
  const contenders: Record<string, () => Promise<number>> = {
    ingest: () => cpuSeconds(main, ours(QUALITY)),
    [EQUAL_NAME]: () => cpuSeconds(main, ours(EQUAL_QUALITY)),
    opencv: () => cpuSeconds([python, ...produce]),
    ...(hasFfmpeg() ? { 'ffmpeg, unpublished': () => cpuSeconds(['ffmpeg', ...ffmpeg]) } : {}),
  };
  const seconds: Record<string, number[]> = {};
  // In turn, so that what else the machine does meets all alike.
  for (let round = 0; round < options.repeat; round += 1) {
    for (const [name, once] of Object.entries(contenders)) {
      const taken = await once();
      note(`${name}: ${taken.toFixed(2)} CPU s`);
      seconds[name] = [...(seconds[name] ?? []), taken];
    }
  }
  const cpu = Object.fromEntries(Object.entries(seconds).map(([name, all]) => [name, median(all)]));
  const opencvQuality = async (quality: number) =>
    summarize(JSON.parse((await run(python, [peer, 'quality', file, String(quality)])).stdout));
  return {
    cpuSeconds: cpu,
    quality: {
      ingest: await ourQuality(file, QUALITY),
      [EQUAL_NAME]: await ourQuality(file, EQUAL_QUALITY),
      opencv: await opencvQuality(QUALITY),
      [`opencv, quality ${EQUAL_BYTES_QUALITY}`]: await opencvQuality(EQUAL_BYTES_QUALITY),
    },
  };
}

const dataDir = await mkdtemp(join(tmpdir(), 'bench-ingest-'));
const kafka = await startKafka({ dataDir });
try {
  await makeTopics(kafka.bootstrap, ['ingest', 'opencv'], 1);
  const result = await measure(kafka.bootstrap);
  console.log(options.json ? JSON.stringify(result) : report(result));
} finally {
  await kafka.stop();
  await rm(dataDir, { recursive: true, force: true });
}

function report({ cpuSeconds, quality }: Awaited<ReturnType<typeof measure>>): string {
  const times = (cpu: number) => (cpu / (cpuSeconds.opencv ?? Number.NaN)).toFixed(2);
  return [
    `720p25 sampled at ${RATE} frames/s, JPEG quality ${QUALITY}, published; median of ${options.repeat}`,
    ...Object.entries(cpuSeconds).map(
      ([name, cpu]) => `${name.padEnd(20)} ${cpu.toFixed(2)} CPU s, ${times(cpu)} times OpenCV's`,
    ),
    ...Object.entries(quality).map(
      ([name, { bytes, psnr }]) =>
        `${name.padEnd(20)} ${(bytes / 1000).toFixed(1)} kB a frame, ${psnr.toFixed(2)} dB luma PSNR`,
    ),
  ].join('\n');
}
