import {
  chmodSync,
  lstatSync,
  mkdirSync,
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
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StreamsFile } from './streams-file.ts';

const LIST = '- id: yard # south\n  url: rtsp://cam/1\n';
const polygon = [
  [0, 0],
  [1, 0],
  [1, 1],
];
const zone = { name: 'lawn', polygon, events: false };

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'streams-file-'));
  path = join(folder, 'streams.yaml');
  writeFileSync(path, LIST);
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = (STREAMS_FILE?: string, STREAMS?: string) => new StreamsFile({ STREAMS, STREAMS_FILE });

test('a zone that is put in is there, in the file and for who asks', () => {
  const streams = open(path);
  expect(streams.scene('yard')).toEqual({ zones: {}, lines: {}, writable: true });
  streams.putZone('yard', zone);
  expect(streams.scene('yard').zones.lawn?.polygon).toEqual(polygon);
  expect(readFileSync(path, 'utf8')).toBe(
    `${LIST}  scene:\n    zones:\n      lawn:\n        polygon: [[0, 0], [1, 0], [1, 1]]\n`,
  );
  expect(readdirSync(folder)).toEqual(['streams.yaml']);
});

test('a link goes on pointing to the file, and who may read the file stays', () => {
  chmodSync(path, 0o640);
  const link = join(folder, 'link.yaml');
  symlinkSync('streams.yaml', link);
  open(link).putZone('yard', zone);
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(readFileSync(path, 'utf8')).toContain('lawn');
  expect(statSync(path).mode & 0o777).toBe(0o640);
});

test('without a file, and where STREAMS goes before it, nothing is written', () => {
  expect(open().scene('yard')).toEqual({ zones: {}, lines: {}, writable: false });
  expect(() => open().putZone('yard', zone)).toThrow('STREAMS_FILE must name the file to write zones to');
  const given = open(path, '[{"id": "yard", "scene": {"lines": {"gate": {"from": [0, 0], "to": [1, 1]}}}}]');
  expect(given.scene('yard')).toMatchObject({ lines: { gate: { to: [1, 1] } }, writable: false });
  expect(() => given.putZone('yard', zone)).toThrow(ConfigError);
  expect(readFileSync(path, 'utf8')).toBe(LIST);
});

test('a zone that can not be used, or a place that can not be written to, leaves the file as it was', () => {
  const streams = open(path);
  expect(() => streams.putZone('yard', { ...zone, polygon: [] })).toThrow(
    "'scene.zones.lawn.polygon' has 0 points",
  );
  // In the way of the draft, also for root.
  mkdirSync(`${path}.${process.pid}.tmp`);
  expect(() => streams.putZone('yard', zone)).toThrow(`STREAMS_FILE: can't write '${path}'`);
  expect(readFileSync(path, 'utf8')).toBe(LIST);
});
