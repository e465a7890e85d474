import { readConfig } from '@video-pipeline/config';
import { STAGE_VARIABLES } from '@video-pipeline/stages';
import { expect, onTestFinished, test, vi } from 'vitest';
import { flowHistory, flowStages, readOffsets, stateOf, type TopicOffsets } from './flow.ts';

const CONFIG = readConfig(STAGE_VARIABLES, {});
const SETTINGS = { stages: flowStages(CONFIG, {}), bucket: 'b', batchSize: 25 };

const offsets = (time: number, detect: TopicOffsets, annotate: TopicOffsets) => ({
  time,
  stages: new Map(Object.entries({ detect, annotate })),
});

test('rates are means over ten seconds, as stages finish a batch at a time', () => {
  const history = flowHistory(SETTINGS);
  for (let second = 0; second <= 20; second += 2) {
    const written = second * 30;
    // Detect finishes 25 frames at a time.
    const finished = Math.floor(written / 25) * 25;
    const frames = { written, finished, lag: written - finished };
    const detections = { written: finished, finished: 0, lag: finished };
    history.add(offsets(second * 1000, frames, detections), {});
  }
  const [ingest, detect, annotate] = history.flow(new Map([['detect', 3]])).stages;
  expect(ingest?.samples.at(-1)?.rate).toBe(30);
  expect(detect?.samples.at(-1)?.rate).toBe(30);
  expect(detect).toMatchObject({ state: 'ok', failed: 3 });
  expect(annotate?.samples.at(-1)).toMatchObject({ rate: 0, lag: 600 });
  expect(annotate?.state).toBe('stopped');
});

test('rates are right when the clock of the host is set back', async () => {
  const history = flowHistory(SETTINGS);
  const admin = (written: number) =>
    ({
      fetchOffsets: async () => [],
      fetchTopicOffsets: async () => [{ partition: 0, low: '0', high: `${written}`, offset: `${written}` }],
    }) as never;
  const start = performance.now();
  vi.spyOn(performance, 'now')
    .mockReturnValueOnce(start)
    .mockReturnValueOnce(start + 2_000);
  onTestFinished(() => void vi.restoreAllMocks());
  history.add(await readOffsets(admin(0), SETTINGS.stages), {});
  vi.spyOn(Date, 'now').mockReturnValue(Date.now() - 3_600_000);
  history.add(await readOffsets(admin(60), SETTINGS.stages), {});
  expect(history.flow(new Map()).stages[0]?.samples.at(-1)?.rate).toBeCloseTo(30);
});

test('while Kafka is unreachable rates are unknown, and the next rates are means over the gap', () => {
  const history = flowHistory(SETTINGS);
  const written = (time: number, written: number) => {
    const topic = { written, finished: written, lag: 0 };
    return offsets(time, topic, topic);
  };
  history.add(written(0, 0), {});
  history.add(undefined, {});
  expect(history.flow(new Map()).stages.map(({ state }) => state)).toEqual(
    SETTINGS.stages.map(() => 'unknown'),
  );
  history.add(written(4_000, 40), {});
  expect(history.flow(new Map()).stages[0]?.samples.at(-1)?.rate).toBe(10);
});

test.each([
  ['no records wait or arrive', 0, 0, 'idle'],
  ['two batches wait', 10, 50, 'ok'],
  ['records of twelve seconds wait', 10, 120, 'behind'],
  ['records wait and none are processed', 0, 5, 'stopped'],
] as const)('state when %s', (_, rate, lag, state) => {
  const samples = Array.from({ length: 5 }, (__, i) => ({ time: i * 2_000, rate, lag, latency: null }));
  expect(stateOf(samples, 25)).toBe(state);
});

test('whether a stage is behind depends on its batch size', () => {
  const samples = Array.from({ length: 5 }, (_, i) => ({ time: i * 2_000, rate: 1, lag: 60, latency: null }));
  expect([stateOf(samples, 25), stateOf(samples, 100)]).toEqual(['behind', 'ok']);
});

test('each running stage is shown with the topic that it reads', () => {
  const shown = (env: NodeJS.ProcessEnv) =>
    flowStages(CONFIG, env)
      .map(({ name, reads, group }) => [name, reads, group] as const)
      .filter(([name]) => ['ingest', 'detect', 'annotate', 'notify', 'clip'].includes(name));
  const frames = [
    ['ingest', null, undefined],
    ['detect', 'video-frames', 'frame-consumer-group'],
    ['annotate', 'detections', 'frame-consumer-group-annotate'],
  ];
  expect(shown({})).toEqual(frames);
  expect(shown({ WEBHOOK_URL: 'https://example.com', EVENT_CLIPS: 'on' })).toEqual([
    ...frames,
    ['notify', 'events', 'frame-consumer-group-notify'],
    ['clip', 'events', 'frame-consumer-group-clip'],
  ]);
});
