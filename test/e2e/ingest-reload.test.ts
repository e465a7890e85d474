import { writeFile } from 'node:fs/promises';
import { type Cameras, startCameras } from '@video-pipeline/camera';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { collectingIngest, stream } from '../support/collect.ts';
import { startIngestProcess } from '../support/ingest-process.ts';
import { evenTimes, makeVideo, videoFolder } from '../support/video.ts';

const folder = await videoFolder();
let cameras: Cameras;
const undo: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const clip = await makeVideo(folder.path('clip.mp4'), { times: evenTimes(100, 25), gop: 25 });
  cameras = await startCameras({ clips: { yard: clip, door: clip, gate: clip } });
});
afterEach(async () => {
  for (const step of undo.splice(0)) await step();
});
afterAll(async () => {
  await cameras.close();
  await folder.remove();
});

test('a reload restarts only the streams that changed, and frame numbers continue', async () => {
  const collecting = collectingIngest();
  const { ingest, of } = collecting;
  undo.push(() => ingest.stop(1000));
  const url = (id: string) => `${cameras.url}/${id}`;
  const ended = ingest.run([stream('yard', url('yard')), stream('door', url('door'))]);
  await expect.poll(() => of('door').length, { timeout: 10_000 }).toBeGreaterThan(5);

  await ingest.reload([
    stream('yard', url('yard')),
    stream('door', url('gate'), 5),
    stream('gate', url('gate')),
  ]);
  await expect.poll(() => of('gate').length, { timeout: 10_000 }).toBeGreaterThan(5);
  const flows = () =>
    collecting.entries.filter(({ message }) => message === 'stream flows').map(({ extra }) => extra.stream);
  expect(flows().sort()).toEqual(['door', 'door', 'gate', 'yard']);

  await ingest.reload([stream('door', url('door'), 25)]);
  const before = of('door').length;
  const yardBefore = of('yard').length;
  await expect.poll(() => of('door').length, { timeout: 10_000 }).toBeGreaterThan(before + 10);
  expect(of('yard').length).toBe(yardBefore);
  expect([...ingest.stats.keys()]).toEqual(['door']);
  const numbers = of('door').map(({ frameNumber }) => frameNumber);
  expect(numbers).toEqual(numbers.map((_, index) => index));

  // A stream that was removed and comes back: `detect` takes a number that was there before for an old frame.
  await ingest.reload([stream('yard', url('yard'))]);
  await expect.poll(() => of('yard').length, { timeout: 10_000 }).toBeGreaterThan(yardBefore + 5);
  expect(of('yard').map(({ frameNumber }) => frameNumber)).toEqual([...of('yard').keys()]);

  await ingest.reload([]);
  await ended;
});

test('ingest reloads its streams file on a change and on SIGHUP, and an invalid file changes nothing', async () => {
  const file = folder.path('streams.yaml');
  const line = (id: string) => `- {id: ${id}, url: "${cameras.url}/${id}"}\n`;
  await writeFile(file, line('yard'));
  const KAFKA_BOOTSTRAP_SERVERS = '127.0.0.1:1';
  const ingest = startIngestProcess({
    STREAMS_FILE: file,
    KAFKA_BOOTSTRAP_SERVERS,
    UV_THREADPOOL_SIZE: '17',
  });
  undo.push(() => ingest.stop());
  const { url } = await ingest.ready;
  const flowing = async () => {
    const { streams } = await (await fetch(`${url}/health`)).json();
    return Object.keys(streams).filter((id) => streams[id].state === 'flowing');
  };
  await expect.poll(flowing, { timeout: 10_000 }).toEqual(['yard']);
  ingest.signal('SIGHUP');
  await expect.poll(ingest.output, { timeout: 10_000 }).toContain('streams read again');
  expect(ingest.output()).not.toContain('restart ingest');
  await writeFile(file, line('yard') + line('door'));
  await expect.poll(flowing, { timeout: 10_000 }).toEqual(['yard', 'door']);
  expect(ingest.output()).toContain('restart ingest: these are more cameras than it has threads for');
  // An editor has emptied the file, and writes it again only after it was looked at.
  await writeFile(file, '');
  await new Promise((resolve) => setTimeout(resolve, 600));
  await writeFile(file, line('yard') + line('door'));
  await expect
    .poll(() => ingest.output().split('streams read again').length - 1, { timeout: 10_000 })
    .toBe(3);
  expect(ingest.output().split('stream flows').length - 1).toBe(2);
  await writeFile(file, '- {id: yard}\n');
  ingest.signal('SIGHUP');
  await expect.poll(ingest.output, { timeout: 10_000 }).toMatch(/line 1: 'url'/);
  expect(await flowing()).toEqual(['yard', 'door']);
  // A wrong entry is told of, as its stream's state, and keeps none of the others back.
  await writeFile(file, `${line('yard')}- {id: door}\n- {id: roof}\n${line('gate')}`);
  ingest.signal('SIGHUP');
  await expect.poll(flowing, { timeout: 10_000 }).toEqual(['yard', 'door', 'gate']);
  const { streams } = await (await fetch(`${url}/health`)).json();
  expect(streams.roof).toMatchObject({
    state: 'failed',
    lastError: `${file}: line 3: 'url' is invalid: expected string, received undefined`,
  });
  expect(await ingest.stop()).toBe(0);
});

test('with STREAMS set, STREAMS_FILE is not watched, and SIGHUP does not end ingest', async () => {
  const file = folder.path('unused.yaml');
  await writeFile(file, '- {id: door, url: nowhere}\n');
  const ingest = startIngestProcess({
    STREAMS: `- {id: yard, url: "${cameras.url}/yard"}`,
    STREAMS_FILE: file,
    KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:1',
  });
  undo.push(() => ingest.stop());
  const { url } = await ingest.ready;
  const states = async () => (await (await fetch(`${url}/health`)).json()).streams;
  await expect.poll(states, { timeout: 10_000 }).toMatchObject({ yard: { state: 'flowing' } });
  const count = () => ingest.output().split('streams read again').length - 1;
  await writeFile(file, '- {id: gate, url: nowhere}\n');
  // A watched file is looked at twice a second.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  expect(count()).toBe(0);
  ingest.signal('SIGHUP');
  await expect.poll(count, { timeout: 10_000 }).toBe(1);
  expect(Object.keys(await states())).toEqual(['yard']);
  expect(await ingest.stop()).toBe(0);
});
