import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hourFolder } from './hours.ts';
import { MAX_TIME } from './kafka-record.ts';
import { annotatedKey, annotatedSince, capturedAtOf, clipKey, detectionsKey, failedKey } from './s3-keys.ts';

const frame = { streamId: 'gate-1', capturedAt: Date.UTC(2026, 10, 25, 7, 59, 59, 999), frameNumber: 12 };
const record = { topic: 'detections', partition: 3, offset: 4711 };

test('S3 keys have the documented form', () => {
  const hour = 'date=2026-11-25/hour=07';
  expect(annotatedKey('annotated', frame)).toBe(`annotated/gate-1/${hour}/${frame.capturedAt}-12.jpg`);
  expect(detectionsKey(frame, record)).toBe(`detections/gate-1/${hour}/detections-3-4711.ndjson`);
  expect(failedKey('annotate', record)).toBe('failed/annotate/detections-3-4711');
  const event = { stream_id: 'gate-1', at: frame.capturedAt, event_id: '3f'.repeat(16) };
  expect(clipKey(event)).toBe(`clips/gate-1/${hour}/${'3f'.repeat(16)}.mp4`);
});

test('a listing from a time on has exactly the frames captured since then, in order, across hours and days', () => {
  // Of 13 digits, until 2286.
  const time = fc.integer({ min: 10 ** 12 + 100_000, max: 10 ** 13 - 100_001 });
  fc.assert(
    fc.property(time, fc.integer({ min: -100_000, max: 100_000 }), fc.nat(), (since, later, frameNumber) => {
      const capturedAt = since + later;
      const key = annotatedKey('a', { ...frame, capturedAt, frameNumber });
      expect(capturedAtOf(key)).toBe(capturedAt);
      expect(key > annotatedSince('a', 'gate-1', since)).toBe(later >= 0);
    }),
  );
});

test('the folder of a time after the year 9999 sorts after all others', () => {
  expect(hourFolder(MAX_TIME)).toBe('date=9999-12-31/hour=23');
});

test('each valid capture time gives a key', () => {
  fc.assert(
    fc.property(fc.nat({ max: 8.64e15 }), (capturedAt) => {
      expect(annotatedKey('a', { ...frame, capturedAt })).toMatch(
        /^a\/gate-1\/date=[+\d-]+\/hour=\d\d\/\d+-12\.jpg$/,
      );
    }),
  );
});
