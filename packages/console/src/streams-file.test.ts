import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '@video-pipeline/config';
import { putShape, removeShape, type Shape } from '@video-pipeline/scene';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StreamsFile } from './streams-file.ts';

const LIST = '- id: yard # south\n  url: rtsp://cam/1\n';
const polygon = [
  [0, 0],
  [1, 0],
  [1, 1],
];
const zone = { kind: 'zone' as const, name: 'lawn', polygon, events: false };

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'streams-file-'));
  path = join(folder, 'streams.yaml');
  writeFileSync(path, LIST);
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = (STREAMS_FILE?: string, STREAMS?: string) => new StreamsFile({ STREAMS, STREAMS_FILE });

function put(streams: StreamsFile, shape: Shape): void {
  streams.change((text, where) => putShape(text, 'yard', shape, where));
}

test('an added zone is in the file and in the API until it is removed', () => {
  const streams = open(path);
  expect(streams.scene('yard')).toEqual({ zones: {}, lines: {}, rules: [], excluded: [], writable: true });
  put(streams, zone);
  expect(streams.scene('yard').zones.lawn?.polygon).toEqual(polygon);
  expect(readFileSync(path, 'utf8')).toBe(
    `${LIST}  scene:\n    zones:\n      lawn:\n        polygon: [[0, 0], [1, 0], [1, 1]]\n`,
  );
  streams.change((text, where) => removeShape(text, 'yard', zone, where));
  expect(streams.scene('yard').zones).toEqual({});
  expect(readdirSync(folder)).toEqual(['streams.yaml']);
});

test('streams with tracks or events are listed as tracked', () => {
  const tracked = '- { id: gate, url: a.mp4, scene: { tracks: {} } }\n- { id: door, scene: { tracks: 1 } }\n';
  writeFileSync(path, LIST + tracked);
  expect(open(path).tracked()).toEqual(['gate']);
  // A list in a bucket is there once it was fetched.
  const config: { STREAMS: string | undefined; STREAMS_FILE: undefined } = {
    ...{ STREAMS: undefined, STREAMS_FILE: undefined },
  };
  const fetched = new StreamsFile(config);
  expect(fetched.streams(0)).toBeUndefined();
  config.STREAMS = tracked;
  expect([...(fetched.streams(2_000)?.keys() ?? [])]).toEqual(['gate', 'door']);
});

test("a symbolic link and the file's permissions are kept", () => {
  chmodSync(path, 0o640);
  const link = join(folder, 'link.yaml');
  symlinkSync('streams.yaml', link);
  put(open(link), zone);
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(readFileSync(path, 'utf8')).toContain('lawn');
  expect(statSync(path).mode & 0o777).toBe(0o640);
});

test('without STREAMS_FILE, or with STREAMS set, nothing is written', () => {
  expect(open().scene('yard')).toEqual({ zones: {}, lines: {}, rules: [], excluded: [], writable: false });
  expect(() => put(open(), zone)).toThrow('STREAMS_FILE must name the file to write zones and lines to');
  const given = open(path, '[{"id": "yard", "scene": {"lines": {"gate": {"from": [0, 0], "to": [1, 1]}}}}]');
  expect(given.scene('yard')).toMatchObject({ lines: { gate: { to: [1, 1] } }, writable: false });
  expect(() => put(given, zone)).toThrow(ConfigError);
  expect(readFileSync(path, 'utf8')).toBe(LIST);
});

test('an invalid zone, or a folder that can not be written to, leaves the file unchanged', () => {
  // No file beside it can have a name that is longer still, which also stops root.
  const long = join(folder, 's'.repeat(250));
  writeFileSync(long, LIST);
  const streams = open(long);
  expect(() => put(streams, { ...zone, polygon: [] })).toThrow("'scene.zones.lawn.polygon' has 0 points");
  expect(() => put(streams, zone)).toThrow(`STREAMS_FILE: can't write '${long}'`);
  expect(readFileSync(long, 'utf8')).toBe(LIST);
});

test('an error in one stream does not affect the others', () => {
  const wrong =
    '- id: gate\n  scene: {zones: {road: {polygon: [[0, 0], [2, 0], [1, 1]]}}}\n- url: rtsp://cam/3\n';
  writeFileSync(path, LIST + wrong);
  const streams = open(path);
  expect(streams.ids()).toEqual(new Set(['yard', 'gate']));
  expect(streams.scene('yard')).toMatchObject({ zones: {}, writable: true });
  expect(() => streams.scene('gate')).toThrow(`${path}: line 4: 'scene.zones.road.polygon.1.0'`);
  // A list with errors is not changed.
  expect(() => put(streams, zone)).toThrow("'scene.zones.road.polygon.1.0'");
});

test('the ids of streams follow the file, and are unknown without a file', () => {
  const streams = open(path);
  expect(streams.ids(0)).toEqual(new Set(['yard']));
  writeFileSync(path, `${LIST}- id: gate\n`);
  expect(streams.ids(500)).toEqual(new Set(['yard']));
  expect(streams.ids(1_000)).toEqual(new Set(['yard', 'gate']));
  writeFileSync(path, 'no list');
  expect(streams.ids(2_000)).toBeUndefined();
  expect(open().ids()).toBeUndefined();
});
