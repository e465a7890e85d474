import { glob, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { type FrameFacts, isDetection } from '@video-pipeline/frame';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { State, Summary } from '../../packages/local/src/session.ts';
import { signalProcess } from '../../packages/local/src/supervisor/processes.ts';
import { startCollector, WAY } from '../support/collector.ts';
import { ALWAYS, pidsOf, startStackProcess } from './stack-process.ts';

const FRAMES = 66;
/** A second: then they are of eleven seconds of each clip. */
const FRAME_RATE = 2;
/** Java upper-cases by them unless it is told otherwise: Kafka finds "no enum constant GroupType.CLASS\u0130C" then. */
const TURKISH = {
  LC_ALL: 'tr_TR.UTF-8',
  JAVA_TOOL_OPTIONS: '-Duser.language=tr -Duser.country=TR',
};
/** The demo clips as they are; each shows a person throughout. */
const SIZES = { cap12_edit: [400, 300], cap13_edit2: [400, 300], franck: [360, 288] } as Record<
  string,
  number[]
>;

interface SeenFrame extends FrameFacts {
  annotated_key: string;
}

describe(`npm start -- --frames ${FRAMES} --frame-rate ${FRAME_RATE} --json, with a Turkish locale`, () => {
  let dataDir: string;
  let summary: Summary;
  let pids: number[];
  let seen: SeenFrame[];
  let collector: Awaited<ReturnType<typeof startCollector>>;

  beforeAll(async () => {
    collector = await startCollector();
    dataDir = await mkdtemp(join(tmpdir(), 'stack-'));
    const stack = startStackProcess(
      dataDir,
      ['--frames', `${FRAMES}`, '--frame-rate', `${FRAME_RATE}`, '--json'],
      {
        INFERENCE_CONFIDENCE_THRESHOLD: '0.4',
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        ...TURKISH,
      },
    );
    const all = ({ services }: State) => 'ingest' in services && 'console' in services;
    pids = pidsOf(await stack.until(all, 'ingest and console'));
    const { code } = await stack.exited;
    expect(code, stack.output.stderr).toBe(0);
    summary = JSON.parse(stack.output.stdout);
    seen = [];
    for await (const file of glob(join(bucket(), 'detections/**/*.ndjson'))) {
      const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
      seen.push(...lines.map((line) => JSON.parse(line)));
    }
  });
  afterAll(() => {
    collector.close();
    return rm(dataDir, { recursive: true, force: true });
  });

  const bucket = () => join(dataDir, 's3/video-pipeline-output');

  it('stores exactly this number of frames, each once and at its key', async () => {
    const keys: string[] = [];
    for await (const file of glob(join(bucket(), 'annotated/**/*.jpg'))) keys.push(relative(bucket(), file));
    expect(keys).toHaveLength(FRAMES);
    expect(keys.toSorted()).toEqual(seen.map(({ annotated_key }) => annotated_key).toSorted());
    for (const { stream_id, frame_number, captured_at, annotated_key } of seen) {
      expect(basename(annotated_key)).toBe(`${captured_at}-${frame_number}.jpg`);
      const [date, hour] = new Date(captured_at).toISOString().split(/[T:]/);
      expect(annotated_key).toContain(`annotated/${stream_id}/date=${date}/hour=${hour}/`);
    }
  });

  it('has one trace for the way of a frame through ingest, detect and annotate', () => {
    const frames = collector.spans.filter(({ name }) => name === 'ingest.frame');
    const whole = frames.filter((frame) => WAY.every((step) => collector.wayOf(frame).includes(step)));
    // Spans that a busy machine does not send in time are lost, and frames are not.
    expect(whole.length).toBeGreaterThan(FRAMES / 2);
  });

  it('leaves no gap in the frame numbers of a stream, except for counted drops', () => {
    for (const [id, counts] of Object.entries(summary.frames)) {
      if (id === 'total') continue;
      const numbers = seen
        .filter(({ stream_id }) => stream_id === id)
        .map(({ frame_number }) => frame_number);
      expect(new Set(numbers).size).toBe(numbers.length);
      expect(numbers.length).toBe(counts.annotated);
      expect(Math.max(...numbers) + 1 - numbers.length).toBeLessThanOrEqual(counts.dropped);
    }
  });

  it("stores pictures of the frame's size", async () => {
    for (const { stream_id, width, height, annotated_key } of seen) {
      expect([width, height]).toEqual(SIZES[stream_id]);
      const picture = sharp(join(bucket(), annotated_key), { failOn: 'warning' });
      const { info } = await picture.raw().toBuffer({ resolveWithObject: true });
      expect([info.width, info.height]).toEqual([width, height]);
    }
  });

  it('detects the person in each clip', () => {
    expect(Object.keys(Object.groupBy(seen, ({ stream_id }) => stream_id)).sort()).toEqual(
      Object.keys(SIZES),
    );
    expect(seen.flatMap(({ detections }) => detections).every(isDetection)).toBe(true);
    const hasPerson = ({ detections }: SeenFrame) =>
      detections.some(({ class_name }) => class_name === 'person');
    expect(seen.filter(hasPerson).length / seen.length).toBeGreaterThanOrEqual(0.98);
    // Twenty-two frames of a clip are few: of those at its beginning one may be without.
    for (const frames of Object.values(Object.groupBy(seen, ({ stream_id }) => stream_id))) {
      expect((frames ?? []).filter(hasPerson).length / (frames ?? []).length).toBeGreaterThanOrEqual(0.95);
    }
  });

  it('prints one JSON object as its summary', () => {
    expect(summary.frames.total).toMatchObject({
      published: FRAMES,
      detected: FRAMES,
      annotated: FRAMES,
      failed: 0,
    });
    expect(summary.output).toBe(join(bucket(), 'annotated'));
    expect(summary.latency_ms.p50).toBeGreaterThan(0);
    expect(summary.latency_ms.p99).toBeGreaterThanOrEqual(summary.latency_ms.p50 ?? 0);
    expect(summary.fps).toBeCloseTo(FRAMES / summary.duration_seconds, 1);
    const servers = ['cameras', 'console', 'ingest', 'kafka', 'model', 's3proxy', 'supervisor'];
    expect(Object.keys(summary.processes).sort()).toEqual([...servers, ...ALWAYS].sort());
    expect(ALWAYS).toEqual(expect.arrayContaining(['annotate', 'detect']));
    for (const usage of Object.values(summary.processes)) {
      expect(usage.cpu_seconds).toBeGreaterThan(0);
      expect(usage.peak_rss_bytes).toBeGreaterThan(10_000_000);
    }
  });

  it('leaves no process running', () => {
    expect(pids.length).toBe(9);
    expect(pids.filter((pid) => signalProcess(pid, 0))).toEqual([]);
  });
});
