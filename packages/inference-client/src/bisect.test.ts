import type { Frame } from '@video-pipeline/frame';
import { expect, test, vi } from 'vitest';
import { jpegSize } from '../../../test/support/jpeg.ts';
import { bisecting } from './bisect.ts';
import { InferenceClientError } from './client.ts';

const frames: Frame[] = Array.from({ length: 25 }, (_, frameNumber) => ({
  streamId: 'gate',
  frameNumber,
  session: 's',
  capturedAt: 0,
  width: 4,
  height: 4,
  jpeg: Buffer.from([frameNumber]),
}));
const seen = { model: 'm', width: 4, height: 4, detections: [] };

/** A server that answers `status` to every request with one of the frames `bad` in it. */
const refusing = (bad: readonly number[], status: number) =>
  vi.fn(async (asked: readonly Frame[]) => {
    const has = asked.some(({ frameNumber }) => bad.includes(frameNumber));
    if (has) throw new InferenceClientError(`answered ${status}`, { status });
    return asked.map(() => seen);
  });

test.each([400, 413, 415, 422])(
  'frames that get %s have that error, and the others have their results',
  async (status) => {
    const detect = refusing([3, 17], status);
    const results = await bisecting({ detect }).detect(frames);
    expect(results).toEqual(
      frames.map(({ frameNumber }) =>
        [3, 17].includes(frameNumber) ? { model: '', error: `answered ${status}` } : seen,
      ),
    );
    expect(detect.mock.calls.length).toBeLessThan(25);
  },
);

test.each([
  ['rejects all frames and accepts a probe picture: the frames fail', [4]],
  ['rejects any picture, as with another interface: the batch fails', [4, 32]],
])('a server that %s', async (_what, sides) => {
  const detect = vi.fn(async (asked: readonly Frame[]) => {
    if (asked.some(({ width }) => sides.includes(width)))
      throw new InferenceClientError('no', { status: 422 });
    return asked.map(() => seen);
  });
  const answer = bisecting({ detect }).detect(frames.slice(0, 2));
  const refusal = { model: '', error: 'no' };
  if (sides.includes(32)) await expect(answer).rejects.toMatchObject({ status: 422 });
  else expect(await answer).toEqual([refusal, refusal]);
  const [asked] = detect.mock.lastCall?.[0] ?? [];
  expect(jpegSize(asked?.jpeg ?? Buffer.of())).toEqual({ width: 32, height: 32 });
});

test.each([401, 404, 429, 500, 503])(
  '%s is not caused by the frames: it is thrown after one request',
  async (status) => {
    const detect = refusing([3], status);
    await expect(bisecting({ detect }).detect(frames)).rejects.toThrow(`answered ${status}`);
    expect(detect).toHaveBeenCalledTimes(1);
  },
);
