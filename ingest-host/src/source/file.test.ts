import { readFile, writeFile } from 'node:fs/promises';
import { expect, onTestFinished, test } from 'vitest';
import { evenTimes, makeVideo, videoFolder } from '../../../test/support/video.ts';
import { fileOf, openFile } from './file.ts';

test.each([
  ['/videos/a.mp4', { path: '/videos/a.mp4', loop: false }],
  ['a.mp4?loop', { path: 'a.mp4', loop: true }],
  ['file:///videos/a%20b.mp4', { path: '/videos/a b.mp4', loop: false }],
  ['file:///videos/a.mp4?loop', { path: '/videos/a.mp4', loop: true }],
  ['rtsp://cam/1?loop', undefined],
  ['http://cam/video.mjpg', undefined],
])('fileOf(%s) has its path and loop', (url, file) => {
  expect(fileOf(url)).toEqual(file);
});

test.each(['file://yard.mp4', 'file://nas/yard.mp4?loop', 'file:///a%2Fb.mp4'])(
  '%s is rejected as the URL of a file',
  (url) => {
    expect(() => fileOf(url)).toThrow('three slashes');
  },
);

test('a transport stream whose codec changes is an error, and does not hang', async () => {
  const folder = await videoFolder();
  onTestFinished(() => folder.remove());
  const made = (['libx264', 'libx265'] as const).map((codec) =>
    makeVideo(folder.path(`${codec}.ts`), { codec, times: evenTimes(20, 10) }),
  );
  const path = folder.path('joined.ts');
  await writeFile(
    path,
    Buffer.concat(await Promise.all((await Promise.all(made)).map((one) => readFile(one)))),
  );
  const source = await openFile(path, { transport: 'tcp', timeoutSeconds: 5 });
  onTestFinished(() => source.close());
  const times: number[] = [];
  const read = async () => {
    for await (const { time } of source.pictures()) times.push(time);
  };
  await expect(read()).rejects.toThrow('its video has another codec now');
  expect(times.length).toBeGreaterThan(15);
});
