import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  addCheckpoint,
  annotatedKey,
  archiveKey,
  clipKey,
  type DetectedFrame,
  detectionsKey,
  encodeDetectedFrame,
  encodeFrame,
  encodeReference,
  eventKey,
  failedKey,
  lateKey,
  type MSKRecord,
  recordsOf,
  segmentKey,
} from '@video-pipeline/frame';
import { createAnnotate } from '@video-pipeline/functions/annotate';
import { sceneEventSchema } from '@video-pipeline/scene';
import { createPutFailed, type MergingStore, type StoredObject } from '@video-pipeline/storage';
import { Ajv2020 } from 'ajv/dist/2020.js';
import sharp from 'sharp';
import { describe, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { parseStreams, streamEntrySchema } from '../ingest-host/src/streams.ts';
import { mskEvent } from './support/msk-event.ts';

const root = join(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const document = read('docs/formats.md');
const ajv = new Ajv2020({
  strict: false,
  formats: { 'date-time': (text: string) => !Number.isNaN(Date.parse(text)) },
});
const schemaOf = (name: string) => ajv.compile(JSON.parse(read(`schemas/${name}.json`)));

const jpeg = await sharp({ create: { width: 64, height: 48, channels: 3, background: 'grey' } })
  .jpeg()
  .toBuffer();
const frame = (frameNumber: number, more: Partial<DetectedFrame> = {}): DetectedFrame => ({
  streamId: 'gate',
  frameNumber,
  session: 's1',
  capturedAt: 1_795_590_000_000 + frameNumber * 100,
  width: 64,
  height: 48,
  jpeg,
  detections: [{ class_id: 0, class_name: 'person', confidence: 0.9, bbox: [1, 2, 30, 40], track_id: 't1' }],
  model: 'nanodet-g',
  ...more,
});

/** The first cells of the table under a heading. */
function namesUnder(heading: string): string[] {
  const section = document.split(`## ${heading}\n`)[1]?.split(/^## /m)[0] ?? '';
  return [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name ?? '');
}

/** Gives the fields of a stream, which editors show, the texts of the ingest host's README. */
function describeFields(properties: Record<string, { description?: string | undefined }>): void {
  const rows = read('ingest-host/README.md').matchAll(/^\| `(\w+)` \| (.+?) \| .*\|$/gm);
  const texts = new Map([...rows].map(([, field = '', text = '']) => [field, text]));
  for (const [field, property] of Object.entries(properties)) {
    const text = texts.get(field);
    expect(text, `ingest-host/README.md has no row of ${field}`).toBeDefined();
    property.description = text?.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1');
  }
}

describe.each([
  [
    'streams',
    z.array(streamEntrySchema),
    'A list of streams: cameras, and what is looked for in their pictures',
  ],
  ['event', sceneEventSchema, 'A record on the topic events'],
] as const)('schemas/%s.json', (name, schema, title) => {
  test('equals the schema in the code', () => {
    const made = { title, ...z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) };
    if (name === 'streams') describeFields(Object(made).items.properties);
    const text = `${JSON.stringify(made, null, 2)}\n`;
    if (process.env.UPDATE_README) writeFileSync(join(root, `schemas/${name}.json`), text);
    else expect(JSON.parse(read(`schemas/${name}.json`))).toEqual(JSON.parse(text));
  });
});

test('schemas/streams.json accepts an example, and rejects an unknown field', () => {
  const check = schemaOf('streams');
  const entry = { id: 'gate', url: 'rtsp://camera/stream', frame_rate: 5, scene: { zones: {} } };
  expect([check([entry]), check.errors]).toEqual([true, null]);
  expect(check([{ ...entry, framerate: 5 }])).toBe(false);
  expect(check([{ ...entry, frame_rate: 0 }])).toBe(false);
});

test('streams.example.yaml is valid for editors and for ingest', () => {
  const text = read('streams.example.yaml');
  const [, schema = ''] = /^# yaml-language-server: \$schema=(.+)/.exec(text) ?? [];
  const check = ajv.compile(JSON.parse(read(schema)));
  expect([check(parse(text)), check.errors]).toEqual([true, null]);
  vi.stubEnv('YARD_PASSWORD', 'p@ss');
  const { specs, problems } = parseStreams(text, { frameRate: 10, quality: 85 }, 'streams.example.yaml');
  expect(problems).toEqual([]);
  expect(specs.map(({ id, url }) => [id, url])).toEqual([
    ['yard', 'rtsp://admin:p%40ss@10.0.0.7/stream1'],
    ['gate', 'https://10.0.0.8/snapshot.jpg'],
  ]);
  vi.unstubAllEnvs();
});

test.each(['frames', 'archive', 'video'] as const)(
  'objects that annotate stores with STORE=%s match the schemas',
  async (form) => {
    const objects: StoredObject[] = [];
    const store: MergingStore = {
      put: async (object) => void objects.push(object),
      merge: ({ merge, ...object }) => store.put({ ...object, body: merge(undefined) }),
    };
    const handler = createAnnotate({
      store,
      prefix: 'annotated',
      form,
      putFailed: createPutFailed(store, 'annotate'),
      logger: { warn() {} },
    });
    const records = [frame(0), frame(1), frame(2, { jpeg: jpeg.subarray(0, 99) })].map(encodeDetectedFrame);
    await handler(mskEvent('detections', [records], { offset: 0 }));
    const bodies = (folder: string) =>
      objects
        .filter(({ key }) => key.startsWith(folder))
        .flatMap(({ body }) => String(body).trim().split('\n'));
    const [line, failed] = [schemaOf('detections-line'), schemaOf('failed')];
    expect(bodies('detections/')).toHaveLength(2);
    for (const text of bodies('detections/'))
      expect([line(JSON.parse(text)), line.errors]).toEqual([true, null]);
    expect(bodies('failed/')).toHaveLength(1);
    for (const text of bodies('failed/'))
      expect([failed(JSON.parse(text)), failed.errors]).toEqual([true, null]);
    const [first = ''] = bodies('detections/');
    // Every field that is stored is described.
    const { properties } = JSON.parse(read('schemas/detections-line.json'));
    expect(Object.keys(JSON.parse(first)).filter((name) => !(name in properties))).toEqual([]);
  },
);

test('an entry of failed/ that refers to records matches its schema, which describes each field', async () => {
  const bodies: string[] = [];
  const put = async ({ body }: Pick<StoredObject, 'body'>) => void bodies.push(String(body));
  const store: MergingStore = { put, merge: ({ merge }) => put({ body: merge(undefined) }) };
  const [record] = recordsOf(mskEvent('detections', [[encodeDetectedFrame(frame(0))]]));
  const reference = { first_offset: 3, last_offset: 9, bytes: 20_000_000 };
  await createPutFailed(store, 'annotate')(record as MSKRecord, 'x', { code: 'BATCH_TOO_LARGE', reference });
  const entry = JSON.parse(bodies[0] ?? '');
  const check = schemaOf('failed');
  expect([check(entry), check.errors]).toEqual([true, null]);
  expect(check({ ...entry, reference: { first_offset: 3 } })).toBe(false);
  expect(check({ ...entry, record: { ...entry.record, headers: [{ width: '64' }] } })).toBe(false);
  const { properties } = JSON.parse(read('schemas/failed.json'));
  const known = (part: { properties: object }) => Object.keys(part.properties).sort();
  expect(known({ properties })).toEqual(Object.keys(entry).sort());
  expect(known(properties.reference)).toEqual(Object.keys(reference).sort());
  expect(known(properties.record)).toEqual(Object.keys(entry.record).sort());
});

test('docs/formats.md has each header of both topics', () => {
  expect(namesUnder('Record on `video-frames`')).toEqual(Object.keys(encodeFrame(frame(0)).headers));
  const detected = encodeDetectedFrame(frame(0));
  addCheckpoint(detected, { source: 'video-frames-0', offset: 1, state: '{}' });
  const place = { topic: 'video-frames', partition: 0, offset: 1, annotated_key: 'k' };
  const more = frame(0, { events: ['e1'], earlierEvents: [1] });
  Object.assign(detected.headers, encodeReference(more, place).headers);
  const own = Object.keys(detected.headers).filter((name) => !(name in encodeFrame(frame(0)).headers));
  const section = document.split('## Record on `detections`')[1]?.split(/^## /m)[0] ?? '';
  expect(own.filter((name) => !section.includes(`\`${name}\``))).toEqual([]);
});

test('docs/formats.md has each kind of S3 key', () => {
  const record = { topic: 'detections', partition: 3, offset: 4711 };
  const [first, last] = [frame(9), frame(33)];
  expect(namesUnder('Objects in S3')).toEqual([
    annotatedKey('annotated', first),
    archiveKey('annotated', first, last, { ...record, last: 4735 }),
    segmentKey('annotated', first, last, { ...record, last: 4735 }),
    detectionsKey(first, record),
    eventKey({ at: first.capturedAt, event_id: '<event_id>' }),
    lateKey({ key: detectionsKey(first, record), body: '' }, 0)?.replace(/[0-9a-f]{16}$/, '<hash>'),
    clipKey({ stream_id: 'gate', at: first.capturedAt, event_id: '<event_id>' }),
    failedKey('detect', { ...record, topic: 'video-frames' }),
  ]);
});
