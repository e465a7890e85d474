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

test.each(['file://yard.mp4', 'file://nas/yard.mp4?loop', 'file:///a%2Fb.mp4'])(
  '%s is named as no URL of a file',
  (url) => {
    expect(() => fileOf(url)).toThrow('three slashes');
  },
);
