import { expect, test } from 'vitest';
import { startRestream } from './restream.ts';

test('cameras are not offered to other machines without a password', async () => {
  await expect(startRestream('0.0.0.0', 0, undefined)).rejects.toThrow('RESTREAM_USER must be set');
});

test('a stream with privacy masks is not offered, also if it gets them later', async () => {
  const restream = await startRestream('127.0.0.1', 0, undefined);
  expect(restream.relayOf({ id: 'yard' })).toBe(restream.relayOf({ id: 'yard' }));
  const corner = [
    [0, 0],
    [1, 0],
    [1, 1],
  ] as const;
  const before = restream.relayOf({ id: 'yard' });
  expect(restream.relayOf({ id: 'yard', masks: [corner] })).toBeUndefined();
  expect(restream.relayOf({ id: 'yard' })).not.toBe(before);
  await restream.close();
});
