import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DetectedFrame, encodeDetectedFrame } from '@video-pipeline/frame';
import type { StoredObject } from '@video-pipeline/storage';
import { expect, test } from 'vitest';
import { createCountPeople } from '../examples/count-people.ts';
import { hasCommand } from './support/has-command.ts';
import { mskEvent } from './support/msk-event.ts';

const EXAMPLES = join(import.meta.dirname, '../examples');
const frame = (frameNumber: number, classes: string[]): DetectedFrame => ({
  streamId: 'gate',
  frameNumber,
  session: 's1',
  capturedAt: 1_795_590_000_000 + frameNumber,
  width: 64,
  height: 48,
  jpeg: Buffer.of(0xff, 0xd8),
  detections: classes.map((class_name) => ({
    class_id: 0,
    class_name,
    confidence: 0.9,
    bbox: [1, 2, 30, 40],
  })),
  model: 'm',
});

test('count-people.ts stores the people of each frame, and a record that is no frame disturbs it not', async () => {
  const objects = new Map<string, StoredObject>();
  const handler = createCountPeople({ put: async (object) => void objects.set(object.key, object) });
  const records = [frame(0, ['person', 'cat', 'person']), frame(1, [])].map(encodeDetectedFrame);
  const event = mskEvent('detections', [[...records, { key: 'gate', value: Buffer.of(), headers: {} }]], {
    offset: 7,
  });
  await handler(event);
  await handler(event);
  expect([...objects.keys()]).toEqual(['people/detections-0-7.json']);
  const counts = JSON.parse(String(objects.get('people/detections-0-7.json')?.body));
  expect(counts.map(({ people }: { people: number }) => people)).toEqual([2, 0]);
});

test('count-people.ts fails the batch when the store fails', async () => {
  const handler = createCountPeople({ put: async () => Promise.reject(new Error('503 Slow Down')) });
  const event = mskEvent('detections', [[encodeDetectedFrame(frame(0, ['person']))]]);
  await expect(handler(event)).rejects.toThrow('503');
});

test.skipIf(!hasCommand('python3'))('subscribe.py reads what detect publishes (needs Python)', async () => {
  const { key, headers } = encodeDetectedFrame(frame(3, ['person']));
  const record = JSON.stringify([key, Object.entries(headers)]);
  const script = `
import json, sys
sys.path.insert(0, sys.argv[1])
import subscribe
key, headers = json.loads(sys.argv[2])
print(json.dumps(subscribe.read(key.encode(), [(name, value.encode()) for name, value in headers])))`;
  const { stdout } = await promisify(execFile)('python3', ['-B', '-c', script, EXAMPLES, record]);
  expect(JSON.parse(stdout)).toEqual({
    stream_id: 'gate',
    frame_number: 3,
    captured_at: 1_795_590_000_003,
    detections: frame(3, ['person']).detections,
  });
});
