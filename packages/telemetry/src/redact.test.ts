import { expect, test } from 'vitest';
import { redact } from './redact.ts';

test.each([
  ['rtsp://admin:secret@10.0.0.7:554/h264', 'rtsp://***@10.0.0.7:554/h264'],
  ['rtsp://admin:p@ss/w@cam/1', 'rtsp://***@cam/1'],
  ['rtsp://admin:p%40ss@cam/1?user=a&pwd=b', 'rtsp://***@cam/1?***'],
  ['rtsp://admin:p?ss@cam/1', 'rtsp://***'],
  ["can't open 'http://u:p@h/x': refused", "can't open 'http://***@h/x': refused"],
  ['rtsp://cam/1', 'rtsp://cam/1'],
  ['clip.mp4 at 10:30', 'clip.mp4 at 10:30'],
  ['/videos/a.mp4', '/videos/a.mp4'],
])('redact(%s) hides credentials', (text, safe) => {
  expect(redact(text)).toBe(safe);
});
