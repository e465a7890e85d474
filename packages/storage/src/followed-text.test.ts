import { expect, test, vi } from 'vitest';
import { followText, isObjectUrl } from './followed-text.ts';

const settings = { AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: undefined };

test('an object is read once for concurrent callers, and again only after its age limit', async () => {
  const read = vi.fn(async (_key: string) => Buffer.from(`version ${read.mock.calls.length}`));
  const following = (everyMs: number) =>
    followText('s3://bucket/config/streams.json', settings, { everyMs, onError: () => {}, reader: { read } });
  const text = following(600_000);
  expect(await Promise.all([text(), text(), text()])).toEqual(Array(3).fill('version 1'));
  expect(await text()).toBe('version 1');
  expect(read).toHaveBeenCalledExactlyOnceWith('config/streams.json');
  const always = following(0);
  expect([await always(), await always()]).toEqual(['version 2', 'version 3']);
});

test('the last text stays in use while the store is unreachable, and a first read that fails is retried', async () => {
  const onError = vi.fn();
  const read = vi.fn<(key: string) => Promise<Buffer>>().mockRejectedValueOnce(new Error('503'));
  const text = followText('s3://bucket/streams.json', settings, { everyMs: 0, onError, reader: { read } });
  await expect(text()).rejects.toThrow("can't read s3://bucket/streams.json");
  read.mockResolvedValueOnce(Buffer.from('[]')).mockRejectedValueOnce(new Error('503'));
  expect(await text()).toBe('[]');
  expect(onError).not.toHaveBeenCalled();
  expect(await text()).toBe('[]');
  expect(onError).toHaveBeenCalledOnce();
});

test.each([
  ['s3://bucket/a/b.json', true],
  ['/etc/streams.yaml', false],
  ['s3://bucket', false],
  [undefined, false],
])('isObjectUrl(%s)', (file, is) => {
  expect(isObjectUrl(file)).toBe(is);
});
