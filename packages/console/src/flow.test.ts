import { expect, test } from 'vitest';
import { FlowHistory, stateOf } from './flow.ts';

const SETTINGS = {
  framesTopic: 'video-frames',
  detectionsTopic: 'detections',
  detectGroup: 'g',
  annotateGroup: 'g-annotate',
  bucket: 'b',
};

test('rates are means over ten seconds, as stages finish a batch at a time', () => {
  const history = new FlowHistory(SETTINGS);
  for (let second = 0; second <= 20; second += 2) {
    const written = second * 30;
    // Detect finishes 25 frames at a time.
    const finished = Math.floor(written / 25) * 25;
    const frames = { written, finished, lag: written - finished };
    history.add(
      { time: second * 1000, frames, detections: { written: finished, finished: 0, lag: finished } },
      {},
    );
  }
  const [ingest, detect, annotate] = history.flow(new Map([['detect', 3]])).stages;
  expect(ingest?.samples.at(-1)?.rate).toBe(30);
  expect(detect?.samples.at(-1)?.rate).toBe(30);
  expect(detect).toMatchObject({ state: 'ok', failed: 3 });
  expect(annotate?.samples.at(-1)).toMatchObject({ rate: 0, lag: 600 });
  expect(annotate?.state).toBe('stopped');
});

test('while Kafka can not be asked, nothing is known; later rates reach over the gap', () => {
  const history = new FlowHistory(SETTINGS);
  const offsets = (time: number, written: number) => {
    const topic = { written, finished: written, lag: 0 };
    return { time, frames: topic, detections: topic };
  };
  history.add(offsets(0, 0), {});
  history.add(undefined, {});
  expect(history.flow(new Map()).stages.map(({ state }) => state)).toEqual(['unknown', 'unknown', 'unknown']);
  history.add(offsets(4_000, 40), {});
  expect(history.flow(new Map()).stages[0]?.samples.at(-1)?.rate).toBe(10);
});

test.each([
  ['nothing waits and nothing comes', 0, 0, 'idle'],
  ['two batches wait', 10, 50, 'ok'],
  ['twelve seconds of work wait', 10, 120, 'behind'],
  ['records wait and none is finished', 0, 5, 'stopped'],
] as const)('%s', (_, rate, lag, state) => {
  const samples = Array.from({ length: 5 }, (__, i) => ({ time: i * 2_000, rate, lag, latency: null }));
  expect(stateOf(samples)).toBe(state);
});
