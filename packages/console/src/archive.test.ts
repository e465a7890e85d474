import { detectionsKey } from '@video-pipeline/frame';
import { ObjectTooLargeError } from '@video-pipeline/storage';
import { expect, test } from 'vitest';
import { Archive } from './archive.ts';
import type { ArchiveBucket } from './bucket.ts';

const NOON = Date.UTC(2026, 10, 25, 12);
const line = (frame_number: number) =>
  JSON.stringify({
    ...{ stream_id: 'yard', session: 's', frame_number, captured_at: NOON + frame_number },
    ...{ width: 1, height: 1, model: 'm' },
    detections: [{ class_id: 0, class_name: 'person', confidence: 0.9, bbox: [0, 0, 1, 1] }],
  });

test('what annotate did not write is passed over, and what it wrote is found', async () => {
  const bodies = [
    'no JSON\n{}\nnull\n[1]\n{"stream_id":"yard","captured_at":1,"detections":[null]}\n',
    `${line(1)}\n{"stream_id":"yard","captured_at":${NOON},"detections":"x"}\n${line(2).slice(0, 50)}`,
    undefined,
    `${line(3)}\n`,
  ];
  const keys = bodies.map((_, offset) =>
    detectionsKey({ streamId: 'yard', capturedAt: NOON }, { topic: 't', partition: 0, offset }),
  );
  const bucket = {
    folders: async (prefix: string) => [
      ...new Set(
        keys.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length).split('/')[0]),
      ),
    ],
    listAll: async (prefix: string) =>
      keys.filter((key) => key.startsWith(prefix)).map((key) => ({ key, stored: NOON, etag: key })),
    read: async (key: string) => {
      const body = bodies[keys.indexOf(key)];
      if (body === undefined) throw new ObjectTooLargeError(key);
      return Buffer.from(body);
    },
  } as Partial<ArchiveBucket> as ArchiveBucket;
  const query = { stream: 'yard', confidence: 0.5, from: NOON - 1, to: NOON + 1_000 };
  const { frames } = await new Archive(bucket).search(query);
  expect(frames.map(({ frame_number }) => frame_number)).toEqual([3, 1]);
});
