import { expect, test } from 'vitest';
import { datedSegments, SegmentClock } from './hls-list.ts';

const list = (...lines: string[]) => ['#EXTM3U', '#EXT-X-TARGETDURATION:2', ...lines, ''].join('\r\n');
const DATE = '2026-11-25T07:00:00.500+00:00';
const at = Date.parse(DATE);

test('segments have the date of the list, and those before and after it by their durations', () => {
  const text = list(
    '#EXTINF:2.0,',
    'a.ts',
    `#EXT-X-PROGRAM-DATE-TIME:${DATE}`,
    '#EXTINF:2.5, title, with a comma',
    '/deep/b.ts?x=1',
    '#EXTINF:2,',
    'c.ts',
    '#EXT-X-DISCONTINUITY',
    '#EXTINF:2,',
    'd.ts',
  );
  expect([...datedSegments(text, 'http://camera:80/live/list.m3u8')]).toEqual([
    ['http://camera/live/a.ts', { date: at - 2_000, duration: 2 }],
    ['http://camera/deep/b.ts?x=1', { date: at, duration: 2.5 }],
    ['http://camera/live/c.ts', { date: at + 2_500, duration: 2 }],
    ['http://camera/live/d.ts', { date: at + 4_500, duration: 2 }],
  ]);
  const broken = list(
    '#EXT-X-PROGRAM-DATE-TIME:soon',
    '#EXTINF:2,',
    'a.ts',
    `#EXT-X-PROGRAM-DATE-TIME:${DATE}`,
    'b.ts',
  );
  expect(datedSegments(broken, 'http://h/').get('http://h/a.ts')?.date).toBe(at - 2_000);
  const parts = list(`#EXT-X-PROGRAM-DATE-TIME:${DATE}`, '#EXTINF:2,', 'a.mp4', '#EXTINF:2,', 'a.mp4');
  expect(datedSegments(parts, 'http://camera/')).toEqual(new Map());
  const wrong = list('#EXT-X-PROGRAM-DATE-TIME:yesterday', '#EXTINF:x,', 'a.ts');
  expect(datedSegments(wrong, 'http://camera/')).toEqual(new Map());
});

test("the clock uses the date of a picture's own segment, although later segments were requested ahead", () => {
  const clock = new SegmentClock();
  expect(clock.offsetAt(9)).toBeUndefined();
  clock.requested({ date: at, duration: 2 });
  clock.requested({ date: at, duration: 2 });
  clock.requested({ date: at + 60_000, duration: 2 });
  expect([10, 10.5, 11.5].map((time) => clock.offsetAt(time))).toEqual([
    at - 10_000,
    at - 10_000,
    at - 10_000,
  ]);
  expect([12, 13].map((time) => clock.offsetAt(time))).toEqual([at + 48_000, at + 48_000]);
  // Presentation times that begin anew belong to the next segment.
  clock.requested({ date: at + 62_000, duration: 2 });
  clock.requested({ date: at + 64_000, duration: 2 });
  expect([0, 0].map((time) => clock.offsetAt(time))).toEqual([at + 62_000, at + 64_000]);
});

test('when dates in a list go back, each segment keeps its own date, also with read-ahead', () => {
  const clock = new SegmentClock();
  const dates = [100, 102, 104, 50, 52, 54, 56].map((seconds) => seconds * 1000);
  // Two are asked for before the first is read; of each there are two variants.
  const ask = (index: number) => {
    for (const more of [0, 1])
      if (dates[index] !== undefined) clock.requested({ date: dates[index] + more, duration: 2 });
  };
  ask(0);
  ask(1);
  const told = dates.map((_, index) => {
    const offset = clock.offsetAt(index * 2);
    ask(index + 2);
    return (offset ?? 0) + index * 2000;
  });
  expect(told).toEqual(dates);
});
