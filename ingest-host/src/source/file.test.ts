import { expect, test } from 'vitest';
import { fileOf } from './file.ts';

test.each([
  ['/videos/a.mp4', { path: '/videos/a.mp4', loop: false }],
  ['a.mp4?loop', { path: 'a.mp4', loop: true }],
  ['file:///videos/a%20b.mp4', { path: '/videos/a b.mp4', loop: false }],
  ['file:///videos/a.mp4?loop', { path: '/videos/a.mp4', loop: true }],
  ['rtsp://cam/1?loop', undefined],
  ['http://cam/video.mjpg', undefined],
])('%s', (url, file) => {
  expect(fileOf(url)).toEqual(file);
});
