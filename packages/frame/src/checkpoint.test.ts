import { expect, test } from 'vitest';
import { addCheckpoint, checkpointOf } from './checkpoint.ts';
import { encodeDetectedFrame } from './kafka-record.ts';

const record = () =>
  encodeDetectedFrame({
    streamId: 'gate',
    frameNumber: 0,
    session: 's1',
    capturedAt: 0,
    width: 1,
    height: 1,
    jpeg: Buffer.from('x'),
    detections: [],
    model: 'm',
  });

test('a checkpoint is unchanged after encoding and decoding, for any topic name', () => {
  for (const source of ['video-frames-12', 'a:1-0']) {
    const checkpoint = { source, offset: 42, state: '{"a":"ä:1"}' };
    const carrying = record();
    addCheckpoint(carrying, checkpoint);
    const headers = Object.fromEntries(
      Object.entries(carrying.headers).map(([name, value]) => [name, Buffer.from(value)]),
    );
    expect(checkpointOf({ ...carrying, headers })).toEqual(checkpoint);
  }
});

test.each([
  {},
  { checkpoint: 'x' },
  { checkpoint_at: 'a-0:1' },
  { checkpoint_at: 'a-0', checkpoint: 'x' },
  { checkpoint_at: 'a-0:-1', checkpoint: 'x' },
])('headers %j hold no checkpoint', (headers) => {
  expect(checkpointOf({ ...record(), headers })).toBeUndefined();
});
