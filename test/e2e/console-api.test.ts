import { readFile, writeFile } from 'node:fs/promises';
import type {
  EventsPage,
  ExportSize,
  FailedBulkResult,
  FailedPage,
  Flow,
  FrameFacts,
  Health,
  Histogram,
  History,
  Names,
  SceneEvent,
  SearchResult,
  StreamScene,
  Timeline,
} from '@video-pipeline/console';
import { eventKey, failedKey, toLambdaRecord } from '@video-pipeline/frame';
import { parseTar } from 'nanotar';
import sharp from 'sharp';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  inject,
  onTestFinished,
  test,
  vi,
} from 'vitest';
import { unique } from '../support/unique.ts';
import {
  annotate,
  CAT,
  type ConsoleFixture,
  cameraJpegs,
  detectedFrame,
  PERSON,
  sceneEvent,
  startCameras,
  startConsoleFixture,
} from './console-fixture.ts';

let fixture: ConsoleFixture;
let clips: Buffer[][];

beforeAll(async () => {
  [fixture, clips] = await Promise.all([startConsoleFixture({ kafka: inject('kafka') }), cameraJpegs()]);
});
afterAll(() => fixture?.stop());

const get = (path: string, options: RequestInit = {}) => fetch(`${fixture.url}${path}`, options);
async function getJson<Value>(path: string): Promise<Value> {
  const response = await get(path);
  expect(response.status, path).toBe(200);
  return response.json();
}
const jpeg = () => clips[0]?.[0] ?? Buffer.of();

/** The first server-sent event of a kind that `is` holds for. */
async function nextEvent<Value>(path: string, kind: string, is: (value: Value) => boolean): Promise<Value> {
  const response = await get(path);
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const [, event, data = ''] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
      if (event !== kind || !is(JSON.parse(data))) continue;
      return JSON.parse(data);
    }
  }
  throw new Error(`no event '${kind}'`);
}

describe('live frames', () => {
  test('of the topic are announced, and the picture is the one that was published', async () => {
    const announced = nextEvent<FrameFacts[]>(
      '/api/live?stream=yard',
      'frames',
      (frames) => frames.length > 0,
    );
    // The console begins at the end of the topic: it has to be there first, so they go on until it is.
    const cameras = startCameras(fixture, ['yard'], 5, clips);
    onTestFinished(cameras.stop);
    const frame = (await announced).at(-1);
    await cameras.stop();
    expect(frame).toMatchObject({ stream_id: 'yard', width: 400, height: 300, detections: [PERSON, CAT] });
    const picture = await get(`/api/streams/yard/frames/${frame?.captured_at}-${frame?.frame_number}.jpg`);
    expect(picture.headers.get('content-type')).toBe('image/jpeg');
    expect(clips[0]).toContainEqual(Buffer.from(await picture.arrayBuffer()));
    const facts = await getJson<FrameFacts>(
      `/api/streams/yard/frames/${frame?.captured_at}-${frame?.frame_number}.json`,
    );
    expect(facts.detections).toEqual([PERSON, CAT]);
    const recent = await getJson<FrameFacts[]>('/api/streams/yard/frames');
    expect(recent.map(({ frame_number }) => frame_number)).toContain(frame?.frame_number);
    const { classes } = await getJson<Timeline>('/api/streams/yard/timeline?minutes=15');
    expect(classes.person?.reduce((sum, count) => sum + count, 0)).toBe(recent.length);
    const names = await getJson<Names>('/api/names');
    expect(names.classes).toEqual(['cat', 'person']);
    expect(names.streams).toContain('yard');
  });
});

test('/api/flow returns rates, lag, latency and failed records of each stage', async () => {
  const detect = fixture.client.consumer({ groupId: fixture.groupId });
  await detect.connect();
  await detect.subscribe({ topic: fixture.topics.frames, fromBeginning: true });
  await detect.run({ autoCommitInterval: 200, eachMessage: async () => {} });
  onTestFinished(() => detect.disconnect());
  const cameras = startCameras(fixture, ['gate'], 5, clips);
  onTestFinished(cameras.stop);
  await vi.waitFor(
    async () => {
      const { stages } = await getJson<Flow>('/api/flow');
      const [ingest, detect, annotated] = stages.map((stage) => stage.samples.at(-1));
      expect(ingest?.rate).toBeGreaterThan(2);
      expect(ingest?.rate).toBeLessThan(8);
      expect(detect?.rate).toBeGreaterThan(2);
      expect(detect?.lag).toBeLessThan(5);
      expect(detect?.latency?.p95).toBeLessThan(3_000);
      expect(annotated?.lag).toBeGreaterThan(20);
      expect(stages[1]?.state).toBe('ok');
      // Nobody commits for annotate, so that its records pile up.
      expect(stages[2]?.state).toBe('stopped');
    },
    { timeout: 30_000, interval: 500 },
  );
});

describe('the archive of stored frames', () => {
  // Yesterday, two seconds before an hour is full.
  const start = Math.floor(Date.now() / 3_600_000 - 24) * 3_600_000 - 2_000;

  beforeAll(async () => {
    const frames = Array.from({ length: 60 }, (_, i) =>
      detectedFrame('dock', i, start + i * 100, jpeg(), i === 7 ? [CAT] : [PERSON]),
    );
    await annotate(fixture.store, frames);
  });

  /** A page may be empty on a busy machine: what it had no time for is left to the next one, and it says so. */
  const search = async (query: string) => {
    const ask = (more: string) =>
      getJson<SearchResult>(`/api/search?from=${start - 1}&to=${start + 3_600_000}&${more}`);
    let page = await ask(query);
    while (page.frames.length === 0 && page.cursor) page = await ask(`cursor=${page.cursor}&${query}`);
    return page;
  };

  test('search returns only frames with the class above the confidence', async () => {
    const { frames, cursor } = await search('class=cat&stream=dock');
    expect(frames.map(({ frame_number }) => frame_number)).toEqual([7]);
    expect(cursor).toBeUndefined();
    expect((await search('class=cat&confidence=0.5')).frames).toEqual([]);
    expect((await search('class=dog')).frames).toEqual([]);
    expect((await search('stream=nobody')).frames).toEqual([]);
    // The clock passes the hour within a batch of 25.
    const late = await getJson<SearchResult>(`/api/search?from=${start + 2_000}&to=${start + 2_300}`);
    expect(late.frames.map(({ frame_number }) => frame_number)).toEqual([22, 21, 20]);
  });

  test('pages of a search contain each frame once, the newest first', async () => {
    const numbers: number[] = [];
    let pages = 0;
    for (let cursor: string | undefined = ''; cursor !== undefined; pages += 1) {
      const result: SearchResult = await search(`stream=dock${cursor && `&cursor=${cursor}`}`);
      expect(result.frames.length).toBeLessThanOrEqual(24);
      numbers.push(...result.frames.map(({ frame_number }) => frame_number));
      cursor = result.cursor;
    }
    expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i));
    expect(pages).toBeGreaterThanOrEqual(3);
  });

  test('a search has a histogram, a size of its export, and a complete export', async () => {
    const range = `from=${start}&to=${start + 6_000}&stream=dock`;
    const { counts, bin_ms } = await getJson<Histogram>(`/api/search/histogram?${range}`);
    expect([bin_ms, counts]).toEqual([1_000, [10, 10, 10, 10, 10, 10]]);
    const { frames, bytes } = await getJson<ExportSize>(`/api/search/size?${range}`);
    expect(frames).toBe(60);
    expect(bytes).toBeGreaterThan(60 * 5_000);
    const csv = await get(`/api/search/export?${range}&format=csv`);
    expect(csv.headers.get('content-disposition')).toMatch(/^attachment; filename="search-.+Z\.csv"$/);
    expect((await csv.text()).split('\r\n')).toHaveLength(62);
    const tar = await get(`/api/search/export?${range}&class=cat&format=yolo-tar`);
    const names = parseTar(await tar.arrayBuffer()).map(({ name }) => name);
    expect(names).toEqual([
      `images/dock-${start + 700}-7.jpg`,
      `labels/dock-${start + 700}-7.txt`,
      'data.yaml',
    ]);
    expect((await get(`/api/search/export?${range}&format=exe`)).status).toBe(400);
    const near = await getJson<FrameFacts>(`/api/streams/dock/near/${start + 750}`);
    expect(near.frame_number).toBe(7);
  });

  test('a stored frame has its annotated picture and its detections', async () => {
    const picture = await get(`/api/streams/dock/annotated/${start}-0.jpg`);
    const bytes = Buffer.from(await picture.arrayBuffer());
    expect(picture.status).toBe(200);
    expect(bytes.subarray(0, 2)).toEqual(Buffer.of(0xff, 0xd8));
    expect(bytes).not.toEqual(jpeg());
    const facts = await getJson<FrameFacts>(`/api/streams/dock/frames/${start + 700}-7.json`);
    expect(facts.detections).toEqual([CAT]);
    expect((await get(`/api/streams/dock/annotated/${start}-99.jpg`)).status).toBe(404);
    expect((await get(`/api/streams/dock/frames/${start}-99.json`)).status).toBe(404);
  });

  test.each(['archive', 'video'] as const)(
    'a frame stored with STORE=%s has the same picture URL',
    async (form) => {
      const stream = `pier-${form}`;
      const frames = Array.from({ length: 30 }, (_, i) =>
        detectedFrame(stream, i, start + i * 100, jpeg(), [CAT]),
      );
      await annotate(fixture.store, frames, form);
      const found = await search(`stream=${stream}&class=cat`);
      const archive = { archive: { key: expect.stringMatching(/\.tar$/) } };
      expect(found.frames[0]).toMatchObject({ frame_number: 29, ...(form === 'archive' && archive) });
      const picture = await get(`/api/streams/${stream}/annotated/${start + 2_900}-29.jpg`);
      expect([picture.status, picture.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
      expect((await sharp(await picture.arrayBuffer()).metadata()).format).toBe('jpeg');
      expect((await get(`/api/streams/${stream}/annotated/${start + 2_900}-30.jpg`)).status).toBe(404);
      expect(
        await getJson(`/api/search/size?from=${start}&to=${start + 60_000}&stream=${stream}`),
      ).toMatchObject({
        frames: 30,
        bytes: expect.toSatisfy((bytes: number) => bytes > 30_000),
      });
      const near = await getJson<FrameFacts>(`/api/streams/${stream}/near/${start + 1_234}`);
      expect(near.frame_number).toBe(12);
      const range = `from=${start}&to=${start + 100}&stream=${stream}`;
      const tar = await get(`/api/search/export?${range}&format=yolo-tar`);
      const [image, ...others] = parseTar(await tar.arrayBuffer());
      expect([image?.name, others.length]).toEqual([`images/${stream}-${start}-0.jpg`, 2]);
      expect((await sharp(image?.data).metadata()).format).toBe('jpeg');
    },
  );

  test('a clip has the annotated pictures from 3 s before to 3 s after a moment, at their original speed', async () => {
    const clip = await get(`/api/streams/dock/clips/${start + 2_000}.webp`);
    expect(clip.headers.get('content-type')).toBe('image/webp');
    const { delay = [], width, height } = await sharp(Buffer.from(await clip.arrayBuffer())).metadata();
    // 2 s before, over the hour's end, and 3 s after, the last one held; what looks the same is one picture.
    expect(delay).toEqual([700, 100, 4_200 + 1_000]);
    expect([width, height]).toEqual([400, 300]);
    expect((await get(`/api/streams/dock/clips/${start - 60_000}.webp`)).status).toBe(404);
    expect((await get(`/api/streams/dock/clips/${10 ** 15 * 9}.webp`)).status).toBe(404);
  });
});

test('events of all streams are listed, have URLs, and can be marked as reviewed for all users', async () => {
  const at = Date.now() - 3_600_000;
  const told = [0, 1, 2].map((number) =>
    sceneEvent(number === 1 ? 'gate' : 'yard', 900 + number, at + number),
  );
  for (const one of told)
    await fixture.store.put({
      key: eventKey(one),
      body: JSON.stringify(one),
      contentType: 'application/json',
    });
  const ids = async (query: string) =>
    (await getJson<EventsPage>(`/api/events?from=${at}&to=${at + 10}&${query}`)).events.map(
      ({ event_id }) => Number.parseInt(event_id, 16) - 900,
    );
  expect(await ids('')).toEqual([2, 1, 0]);
  expect(await ids('stream=yard&class=person&zone=lawn&type=entered_zone')).toEqual([2, 0]);
  const mark = (body: object) =>
    get('/api/events/reviewed', {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', origin: fixture.url },
    });
  const refs = told.map(({ at, event_id }) => ({ at, event_id }));
  const answers = await Promise.all(refs.slice(0, 2).map((ref) => mark({ events: [ref], reviewed: true })));
  expect(answers.map(({ status }) => status)).toEqual([200, 200]);
  await vi.waitFor(async () => expect(await ids('reviewed=no')).toEqual([2]), 20_000);
  expect(await ids('reviewed=yes')).toEqual([1, 0]);
  const [first] = told;
  expect(await getJson(`/api/events/${first?.at}-${first?.event_id}`)).toEqual({ ...first, reviewed: true });
  expect((await get(`/api/events/${first?.at}-${'f'.repeat(32)}`)).status).toBe(404);
  expect((await mark({ events: [{ at: -1, event_id: 'x' }], reviewed: true })).status).toBe(400);
  expect((await mark({ events: [], reviewed: true })).status).toBe(400);
  const { events } = await getJson<History>(`/api/history?from=${at}&to=${at + 10}`);
  expect(events).toHaveLength(3);
});

test('/metrics for Prometheus has the state of each part, the lag and the received frames', async () => {
  const answer = await get('/metrics');
  expect(answer.headers.get('content-type')).toMatch('text/plain');
  const text = await answer.text();
  expect(text).toContain('console_part_up{part="s3"} 1');
  expect(text).toMatch(/console_lag_records\{stage="detect"\} \d/);
  expect(text).toMatch(/console_frames_total [1-9]/);
});

describe("failed records in the console's API", () => {
  let record: ReturnType<typeof toLambdaRecord>;
  let key: string;
  beforeAll(() => {
    record = toLambdaRecord(
      { topic: fixture.topics.frames, partition: 0, offset: '12345', timestamp: 1 },
      { key: 'yard', value: Buffer.from('no picture'), headers: { stream_id: 'yard' } },
    );
    key = failedKey('detect', record);
  });
  const redrive = (body: unknown, headers: Record<string, string> = {}) =>
    get('/api/failed/redrive', {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', origin: fixture.url, ...headers },
    });

  beforeEach(async () => {
    const failed = { stage: 'detect', reason: 'not a JPEG', time: '2026-11-25T07:00:00Z', record };
    await fixture.store.put({ key, body: JSON.stringify(failed), contentType: 'application/json' });
    await fixture.store.put({ key: 'failed/detect/junk-0-1', body: 'junk', contentType: 'text/plain' });
  });

  test('are listed with their reason', async () => {
    const { entries } = await getJson<FailedPage>('/api/failed');
    expect(entries).toContainEqual({
      key,
      stage: 'detect',
      stream: 'yard',
      reason: 'not a JPEG',
      time: '2026-11-25T07:00:00Z',
      position: `${fixture.topics.frames}-0-12345`,
      bytes: 10,
    });
    expect(entries).toHaveLength(2);
  });

  test('of each stage and of the poller are counted, and those on the topic of events can be redriven', async () => {
    const told = { ...record, topic: fixture.topics.events };
    const keys = ['notify', 'clip', 'event-source'].map((stage) => failedKey(stage, told));
    const failed = { stage: 'notify', reason: 'no answer', time: '2026-11-25T07:00:00Z', record: told };
    for (const one of keys)
      await fixture.store.put({ key: one, body: JSON.stringify(failed), contentType: 'application/json' });
    await nextEvent<Health>('/api/live', 'health', ({ failed }) => failed === 5);
    for (const one of keys) expect((await redrive({ key: one })).status).toBe(200);
    const health = await nextEvent<Health>('/api/live', 'health', ({ failed }) => failed === 2);
    expect(health.parts.s3?.ok).toBe(true);
  });

  test('can be filtered by stage, stream and kind, and all matches counted, redriven or deleted', async () => {
    const post = async (body: object) => {
      const headers = { 'content-type': 'application/json', origin: fixture.url };
      const answer = await get('/api/failed/bulk', { method: 'POST', body: JSON.stringify(body), headers });
      return answer.ok ? ((await answer.json()) as FailedBulkResult) : answer.status;
    };
    const keysOf = async (choice: string) =>
      (await getJson<FailedPage>(`/api/failed?${choice}`)).entries.map(({ key }) => key);
    const failed = {
      stage: 'clip',
      code: 'PICTURE_INVALID',
      reason: 'no answer',
      time: '2026-11-25T07:00:00Z',
    };
    const keys = ['7', '8'].map((offset) => `failed/clip/events-0-${offset}`);
    for (const one of keys) {
      const body = JSON.stringify({ ...failed, record: { ...record, topic: fixture.topics.events } });
      await fixture.store.put({ key: one, body, contentType: 'application/json' });
    }
    expect(await keysOf('stage=clip')).toEqual(keys);
    expect(await keysOf('stream=yard&code=PICTURE_INVALID')).toEqual(keys);
    expect(await keysOf('stage=clip&stream=gate')).toEqual([]);
    expect((await get('/api/failed?stage=nowhere')).status).toBe(400);
    const choice = { stage: 'clip', stream: 'yard' };
    expect(await post({ action: 'delete', ...choice })).toEqual({
      count: 2,
      problems: [],
      until: expect.any(Number),
    });
    expect(await keysOf('stage=clip')).toEqual(keys);
    expect(
      await post({ action: 'redrive', ...choice, code: 'PICTURE_INVALID', confirmed: true }),
    ).toMatchObject({ count: 2 });
    expect(await keysOf('stage=clip')).toEqual([]);
    await fixture.store.put({
      key: keys[0] ?? '',
      body: JSON.stringify({ ...failed, record }),
      contentType: 'application/json',
    });
    expect(await post({ action: 'delete', ...choice, confirmed: true })).toMatchObject({ count: 1 });
    expect(await keysOf('stage=clip')).toEqual([]);
    expect(await post({ action: 'burn' })).toBe(400);
  });

  test("are redriven only by requests from the console's own page", async () => {
    expect((await redrive({ key }, { origin: 'https://evil.example' })).status).toBe(403);
    expect((await redrive({ key }, { 'content-type': 'text/plain' })).status).toBe(403);
    expect((await redrive({ key: 'failed/../secret' })).status).toBe(409);
    expect((await redrive({ key: 'failed/detect/none-0-1' })).status).toBe(409);
    expect((await redrive({ key: 'failed/detect/junk-0-1' })).status).toBe(409);
    expect((await redrive({ key: 5 })).status).toBe(400);
    expect((await redrive({ key, filler: 'x'.repeat(5_000) })).status).toBe(413);
  });

  test('are unchanged on their topic after a redrive, and leave the list', async () => {
    const before = await ends();
    expect((await redrive({ key })).status).toBe(200);
    expect((await ends()) - before).toBe(1);
    const { entries } = await getJson<FailedPage>('/api/failed');
    expect(entries.map((entry) => entry.key)).toEqual(['failed/detect/junk-0-1']);
    expect((await redrive({ key })).status).toBe(409);
  });

  async function ends(): Promise<number> {
    const partitions = await fixture.admin.fetchTopicOffsets(fixture.topics.frames);
    return partitions.reduce((sum, { high }) => sum + Number(high), 0);
  }
});

describe("the scene of a stream in the console's API", () => {
  const polygon = [
    [0.1, 0.1],
    [0.4, 0.1],
    [0.4, 0.9],
  ];
  const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    get(`/api/streams/${path}`, {
      method,
      headers: { 'content-type': 'application/json', origin: fixture.url, ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  const save = (stream: string, body: unknown, headers: Record<string, string> = {}) =>
    send('POST', `${stream}/zones`, body, headers);
  const refusal = async (response: Response) => [response.status, (await response.json()).error];
  let list: string;
  beforeAll(async () => {
    list = await readFile(fixture.streamsFile, 'utf8');
  });
  afterEach(() => writeFile(fixture.streamsFile, list));

  test('equals that of the list of streams', async () => {
    const { zones, lines, writable } = await getJson<StreamScene>('/api/streams/yard/scene');
    expect(Object.keys(zones)).toEqual(['lawn']);
    expect(zones.lawn?.holes).toHaveLength(1);
    expect(lines).toMatchObject({ gate: { from: [0.5, 1], to: [0.5, 0] } });
    expect(writable).toBe(true);
    expect(await getJson('/api/streams/nobody/scene')).toEqual({
      zones: {},
      lines: {},
      rules: [],
      excluded: [],
      writable: true,
    });
  });

  test('a saved zone gets event rules, and the rest of the streams file is unchanged', async () => {
    const response = await save('yard', { name: 'bed', polygon, events: true });
    expect(response.status).toBe(200);
    expect(Object.keys((await response.json()).zones)).toEqual(['lawn', 'bed']);
    const text = await readFile(fixture.streamsFile, 'utf8');
    expect(text).toContain('# The cameras.\n- id: yard # south\n  url: rtsp://admin:secret@cam/1\n');
    expect(text).toContain('bed:\n        polygon: [[0.1, 0.1], [0.4, 0.1], [0.4, 0.9]]');
    expect(text).toContain('{type: entered_zone, name: bed-entered, zone: bed}');
  });

  test('a saved line gets an event rule, and the rule is removed with the line', async () => {
    const road = { name: 'road', from: [0, 0.5], to: [1, 0.5], events: true };
    const drawn: StreamScene = await (await send('POST', 'yard/lines', road)).json();
    expect(drawn.lines.road).toMatchObject({ from: [0, 0.5], to: [1, 0.5] });
    expect(drawn.rules).toMatchObject([{ type: 'line_crossed', name: 'road-crossed', line: 'road' }]);
    const removed: StreamScene = await (await send('DELETE', 'yard/lines/road')).json();
    expect(Object.keys(removed.lines)).toEqual(['gate']);
    expect(removed.rules).toEqual([]);
    expect(await refusal(await send('DELETE', 'yard/lines/road'))).toEqual([
      422,
      `${fixture.streamsFile}: stream 'yard' has no line 'road'`,
    ]);
    expect(await refusal(await send('POST', 'yard/lines', { ...road, to: road.from }))).toEqual([
      422,
      expect.stringContaining("'scene.lines.road.to' has no length"),
    ]);
    expect(await refusal(await send('POST', 'yard/lines', { name: 'road', from: road.from }))).toEqual([
      422,
      expect.stringContaining("'scene.lines.road.to' is invalid"),
    ]);
  });

  test('an invalid zone or line is rejected with line and field, and the file is unchanged', async () => {
    const crossing = [polygon[0], polygon[2], polygon[1], [0.1, 0.9]];
    const field = "line 8: 'scene.zones.bed.polygon'";
    expect(await refusal(await save('yard', { name: 'bed', polygon: crossing }))).toEqual([
      422,
      `${fixture.streamsFile}: ${field} crosses itself: edge 1 meets edge 3`,
    ]);
    expect(await refusal(await save('yard', { name: 'bed' }))).toEqual([422, expect.stringContaining(field)]);
    expect(await refusal(await save('roof', { name: 'bed', polygon }))).toEqual([
      422,
      `${fixture.streamsFile}: there is no stream 'roof'`,
    ]);
    expect((await save('yard', { name: 5, polygon })).status).toBe(400);
    expect((await save('yard', 'no JSON')).status).toBe(400);
    expect((await save('yard', 'null')).status).toBe(400);
    expect((await save('..%2fyard', { name: 'bed', polygon })).status).toBe(400);
    expect((await save('yard', { name: 'bed', polygon: Array(2_000).fill([0, 0]) })).status).toBe(413);
    expect(await readFile(fixture.streamsFile, 'utf8')).toBe(list);
    await writeFile(fixture.streamsFile, list.replace('from:', 'form:'));
    expect(await refusal(await get('/api/streams/yard/scene'))).toEqual([
      422,
      expect.stringContaining("line 8: 'scene.lines.gate.from'"),
    ]);
  });

  test("is saved only by requests from the console's own page", async () => {
    const zone = { name: 'bed', polygon };
    expect((await save('yard', zone, { origin: 'https://evil.example' })).status).toBe(403);
    expect((await save('yard', zone, { 'content-type': 'text/plain' })).status).toBe(403);
    expect((await save('yard', zone, { origin: '' })).status).toBe(403);
    expect((await get('/api/streams/yard/zones/lawn', { method: 'DELETE' })).status).toBe(403);
    expect(await readFile(fixture.streamsFile, 'utf8')).toBe(list);
  });

  test('has the newest events of the topic for this stream, and of no other', async () => {
    const [yard, gate] = [unique('yard'), unique('gate')];
    const told = [yard, gate, yard].map((stream, i) => sceneEvent(stream, i));
    const messages = told.map((event) => ({ key: event.stream_id, value: JSON.stringify(event) }));
    await fixture.producer.send({
      topic: fixture.topics.events,
      messages: [...messages, { key: yard, value: 'no event' }],
    });
    const events = await getJson<SceneEvent[]>(`/api/streams/${yard}/events`);
    expect(events).toEqual([told[2], told[0]]);
    expect(await getJson('/api/streams/nobody/events')).toEqual([]);
  });
});

describe('access to the console', () => {
  test.each([
    ['/page/../src/main.ts', 404],
    ['/page/%2e%2e/package.json', 404],
    ['/page/tsconfig.json', 404],
    ['/api/streams/..%2f..%2fetc/frames', 400],
    ['/api/streams/yard/frames/1-x.jpg', 404],
    ['/api/streams/.hidden/timeline', 400],
    ['/api/streams/yard/timeline?minutes=1e9', 400],
    ['/api/search?cursor=rubbish', 400],
    ['/api/search?confidence=2', 400],
    ['/api/live?stream=a/b', 400],
    ['/api/failed/redrive', 405],
    ['/nowhere', 404],
  ])('GET %s is answered with %i', async (path, status) => {
    expect((await rawGet(path)).status).toBe(status);
  });

  test('each response has a Content-Security-Policy, and a page with a known ETag gets 304', async () => {
    const page = await get('/');
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(page.headers.get('x-content-type-options')).toBe('nosniff');
    const etag = page.headers.get('etag') ?? '';
    expect((await get('/', { headers: { 'if-none-match': etag } })).status).toBe(304);
    expect(await page.text()).not.toMatch(/https?:\/\/(?!www\.w3\.org)/);
  });

  test('a Host header other than localhost is rejected, against DNS rebinding', async () => {
    expect((await rawGet('/api/flow', 'evil.example')).status).toBe(403);
  });

  // fetch tidies paths up and sets the host by itself.
  async function rawGet(path: string, host = new URL(fixture.url).host): Promise<{ status: number }> {
    const { request } = await import('node:http');
    return new Promise((resolve, reject) => {
      const { hostname, port } = new URL(fixture.url);
      request({ hostname, port, path, headers: { host } }, (response) => {
        response.resume();
        resolve({ status: response.statusCode ?? 0 });
      })
        .on('error', reject)
        .end();
    });
  }
});
