import { createAnnotate } from '@video-pipeline/functions/annotate';
import type { MergingStore } from '@video-pipeline/storage';
import { flushTraces } from '@video-pipeline/telemetry';
import sharp from 'sharp';
import { afterAll, expect, test, vi } from 'vitest';
import { createDetect } from '../functions/src/detect.ts';
import { createPublish } from '../functions/src/publish.ts';
import { Publisher } from '../ingest-host/src/publisher.ts';
import { type Span, WAY } from './support/collector.ts';
import { mskEvent } from './support/msk-event.ts';

// It is up before any module of ours is loaded.
const collector = await vi.hoisted(async () => {
  const { startCollector } = await import('./support/collector.ts');
  const started = await startCollector();
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = started.url;
  return started;
});
afterAll(() => collector.close());

const jpeg = await sharp({ create: { width: 64, height: 48, channels: 3, background: 'grey' } })
  .jpeg()
  .toBuffer();
const frame = (frameNumber: number) => ({
  ...{ streamId: 'yard', frameNumber, session: 's1', capturedAt: Date.now(), width: 64, height: 48, jpeg },
});

type Records = Parameters<typeof mskEvent>[1][number];

test('a frame has one trace, from ingest over detect to S3', async () => {
  const [published, detected]: Records[] = [[], []];
  const publisher = new Publisher(
    async (records) => void (published as unknown[]).push(...records),
    { published() {}, dropped() {}, failed() {} },
    { bufferMs: 1_000, bufferBytes: 1_000_000 },
  );
  for (const number of [0, 1]) publisher.offer(frame(number));
  await publisher.flush();
  const store: MergingStore = { put: async () => {}, merge: async () => {} };
  const failures = { putFailed: async () => {}, logger: { warn() {} } };
  const detector = {
    detect: async (frames: readonly object[]) =>
      frames.map(() => ({ model: 'm', width: 64, height: 48, detections: [] })),
  };
  const send = async ({ messages }: { messages: readonly unknown[] }) => {
    (detected as unknown[]).push(...messages);
    return [];
  };
  const publish = createPublish({ send }, 'detections');
  await createDetect({ ...failures, detector, publish })(mskEvent('video-frames', [published as Records]));
  const annotate = createAnnotate({ ...failures, store, prefix: 'annotated', form: 'frames' });
  await annotate(mskEvent('detections', [detected as Records]));
  await flushTraces();

  const { spans, wayOf } = collector;
  const [first, second, ...others] = spans.filter(({ name }) => name === 'ingest.frame') as [Span, Span];
  expect(others).toEqual([]);
  // The batch is a part of its first frame's way, and linked with the others'.
  const batch = ['detect.batch of ingest.frame', 'infer of detect.batch'].map(
    (one) => `video-pipeline-detect: ${one}`,
  );
  expect(wayOf(first)).toEqual([...WAY, ...batch].sort());
  expect(wayOf(second)).toEqual(WAY);
  const linksOf = (one: string) =>
    spans.filter(({ name }) => name === one).map(({ links = [] }) => links.map(({ spanId }) => spanId));
  const ofBatch = spans.find(({ name }) => name === 'detect.batch')?.spanId;
  expect(linksOf('detect.batch')).toEqual([[second.spanId]]);
  expect(linksOf('detect.frame')).toEqual([[ofBatch], [ofBatch]]);
});
