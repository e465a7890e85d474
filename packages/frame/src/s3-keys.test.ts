import fc from 'fast-check';
import { expect, test } from 'vitest';
import { annotatedKey, detectionsKey, failedKey } from './s3-keys.ts';

const frame = { streamId: 'gate-1', capturedAt: Date.UTC(2026, 10, 25, 7, 59, 59, 999), frameNumber: 12 };
const record = { topic: 'detections', partition: 3, offset: 4711 };

test('keys are the ones of the contract', () => {
  const hour = 'date=2026-11-25/hour=07';
  expect(annotatedKey('annotated', frame)).toBe(`annotated/gate-1/${hour}/${frame.capturedAt}-12.jpg`);
  expect(detectionsKey(frame, record)).toBe(`detections/gate-1/${hour}/detections-3-4711.ndjson`);
  expect(failedKey('annotate', record)).toBe('failed/annotate/detections-3-4711');
});

test('every time that a record may carry gives a key', () => {
  fc.assert(
    fc.property(fc.nat({ max: 8.64e15 }), (capturedAt) => {
      expect(annotatedKey('a', { ...frame, capturedAt })).toMatch(
        /^a\/gate-1\/date=[+\d-]+\/hour=\d\d\/\d+-12\.jpg$/,
      );
    }),
  );
});
