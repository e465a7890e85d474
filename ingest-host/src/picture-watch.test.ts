import { afterEach, expect, test, vi } from 'vitest';
import { watchPictures } from './picture-watch.ts';

afterEach(() => void vi.useRealTimers());

/** 25 packets a second. @param picture the time of the picture that a packet becomes; undefined for none */
function watch(seconds: number, picture: (index: number) => number | undefined): string[] {
  vi.useFakeTimers({ toFake: ['performance'] });
  const told: string[] = [];
  const watch = watchPictures(10, (reason) => told.push(reason));
  for (let index = 0; index < seconds * 25; index += 1) {
    watch.packet('a key frame');
    const time = picture(index);
    if (time !== undefined) watch.picture(time);
    vi.advanceTimersByTime(40);
  }
  return told;
}

test('a long wait for a key frame is logged every ten seconds', () => {
  const told = watch(25, (index) => (index < 550 ? undefined : index / 25));
  expect(told).toHaveLength(2);
  for (const reason of told) expect(reason).toMatch(/^25\d packets came in 10 s, but not a key frame$/);
});

test('pictures that all have the same time are logged as a camera clock that stands still', () => {
  expect(watch(11, () => 100)[0]).toMatch(
    /^\d+ packets came in 10 s, all with the same time: its clock stands still$/,
  );
});

test('nothing is logged while pictures arrive', () => {
  expect(watch(30, (index) => index / 25)).toEqual([]);
});

test('a pause of the pipeline, in which no packet is read, is not logged', () => {
  const told: string[] = [];
  const watch = watchPictures(10, (reason) => told.push(reason));
  vi.useFakeTimers({ toFake: ['performance'] });
  for (let index = 0; index < 3; index += 1) {
    watch.packet('a key frame');
    watch.picture(index);
    vi.advanceTimersByTime(30_000);
  }
  expect(told).toEqual([]);
});
