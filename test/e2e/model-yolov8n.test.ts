// YOLOv8n as we serve it against ultralytics' own pre- and post-processing in PyTorch, on real frames.
// `npm run reference:yolov8n` makes the reference again.
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Detection } from '@video-pipeline/frame';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildYolov8n, EXPORTED_YOLOV8N } from '../bench/yolov8n.ts';
import { startModel } from './model-process.ts';
import reference from './yolov8n/reference.json' with { type: 'json' };

/** What must agree: sides in pixels of the frame, scores. */
const MOST_PIXELS = 0.5;
const MOST_SCORE = 1e-3;

let folder: string;
let built: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'yolov8n-'));
  built = join(folder, 'yolov8n.onnx');
  await buildYolov8n(built);
});
afterAll(() => rm(folder, { recursive: true }));

test('the reference of ultralytics has dozens of different boxes in each picture', () => {
  const boxes = Object.values(reference.pictures).map((detections) => JSON.stringify(detections));
  expect(new Set(boxes).size).toBe(5);
  for (const detections of Object.values(reference.pictures)) expect(detections.length).toBeGreaterThan(24);
});

test.each(['fast', 'opencv'])(
  'the detections equal those of ultralytics, with no others (--resize %s)',
  (resize) => expectReference(built, ['--resize', resize]),
);

test.skipIf(!existsSync(EXPORTED_YOLOV8N))(
  'the model that ultralytics exports has these detections, too (made by `npm run reference:yolov8n`)',
  () => expectReference(EXPORTED_YOLOV8N, []),
);

async function expectReference(model: string, args: string[]): Promise<void> {
  const server = await startModel([
    ...['--model', model, '--iou', String(reference.iou)],
    // A picture at a time needs one session.
    ...['--threads', '1', ...args],
  ]);
  try {
    for (const [name, expected] of Object.entries(reference.pictures)) {
      const seen = await detect(server.url, join(import.meta.dirname, 'yolov8n', name));
      const missed = expected.filter((one) => !take(seen, one as Detection));
      expect({ name, missed, tooMany: seen }).toEqual({ name, missed: [], tooMany: [] });
    }
  } finally {
    await server.stop();
  }
}

async function detect(url: string, path: string): Promise<Detection[]> {
  const frames = [{ frame_number: 0, frame_data: await readFile(path, 'base64') }];
  const response = await fetch(new URL('/predict', url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ stream_id: 'yolov8n', threshold: reference.threshold, frames }),
  });
  const { results } = (await response.json()) as { results: { detections: Detection[] }[] };
  return results[0]?.detections ?? [];
}

/** Takes the detection that agrees with `expected` out of `seen`. @returns whether there was one */
function take(seen: Detection[], expected: Omit<Detection, 'class_name'>): boolean {
  const index = seen.findIndex(
    ({ class_id, confidence, bbox }) =>
      class_id === expected.class_id &&
      Math.abs(confidence - expected.confidence) <= MOST_SCORE &&
      bbox.every((side, at) => Math.abs(side - (expected.bbox[at] ?? Number.NaN)) <= MOST_PIXELS),
  );
  if (index >= 0) seen.splice(index, 1);
  return index >= 0;
}
