import { annotatedKey } from '@video-pipeline/frame';
import { stretchAround } from '@video-pipeline/storage';
import { expect, test } from 'vitest';
import { manyScans } from '../../../test/support/many-scans.ts';
import { clipOf } from './clip.ts';

test('a stored picture that would cost too much to decode is refused undecoded', async () => {
  const at = Date.now() - 3_600_000;
  const key = annotatedKey('annotated', { streamId: 'yard', capturedAt: at, frameNumber: 1 });
  const jpeg = await manyScans(3_000);
  const reader = {
    page: async (prefix: string) => ({
      objects: key.startsWith(prefix) ? [{ key, stored: at, etag: '', size: 0 }] : [],
    }),
    read: async () => jpeg,
  };
  const stretch = stretchAround('yard', at, { CLIP_BEFORE_SECONDS: 3, CLIP_AFTER_SECONDS: 3 } as never);
  const clip = clipOf(reader, 'annotated', stretch, new AbortController().signal);
  await expect(clip).rejects.toThrow('2647 scans, over 100');
});
