import { posix } from 'node:path';
import {
  annotatedKey,
  decodeSeenFrame,
  detectionsKey,
  InvalidRecordError,
  type SeenFrame,
} from '@video-pipeline/frame';
import { createLogger } from '@video-pipeline/telemetry';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { headers, type Parser, parsers } from './support/parsers.ts';

/** Longest time for one input, milliseconds of CPU. */
const MAX_MS = 1_000;

/** @throws whatever is no answer and none of the parser's errors */
function attack({ parse, errors }: Parser, input: Buffer): void {
  const began = process.cpuUsage();
  try {
    parse(input);
  } catch (error) {
    if (!errors.some((known) => error instanceof known)) throw error;
    expect((error as Error).message.length).toBeLessThan(10_000);
  }
  const { user, system } = process.cpuUsage(began);
  expect((user + system) / 1000).toBeLessThan(MAX_MS);
}

const hostileJson = fc.json({
  maxDepth: 4,
  stringUnit: 'binary',
}) as fc.Arbitrary<string>;
const hostileText = fc.constantFrom(
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  '../../etc/passwd',
  '\0',
  '\r\n',
  '\u2028',
  '\u001b[2J',
  '\ud800',
  '1e999',
  '-0',
  '9'.repeat(400),
  'null',
  'NaN',
  '[]',
  '{}',
  '*a',
  '&a',
  '<<: *a',
  '!!js/function',
  '%2e%2e%2f',
  '"',
  "'",
);

/** Damage to something good: bytes cut out, others put in. */
const damage = fc.record({
  at: fc.nat(400),
  cut: fc.nat(20),
  put: fc.oneof(
    hostileText.map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 12 }).map(Buffer.from),
  ),
});

/** What parsers have choked on, again and again. */
const PIECES = [
  '[',
  '{"a":',
  '- ',
  '&a [',
  '*a,',
  '1',
  'a',
  '\\',
  '"',
  "0: '",
  '://',
  '\r\n',
  '$',
  '\0',
  '../',
  ',',
  ' ',
];

afterEach(() => {
  vi.restoreAllMocks();
  expect(Object.keys(Object.prototype), 'no input changes what every object has').toEqual([]);
});

describe.each(Object.entries(parsers))('the parser of %s', (_name, parser) => {
  test('accepts a valid input', () => {
    expect(() => parser.parse(Buffer.from(parser.good, 'latin1'))).not.toThrow();
  });

  test('accepts or rejects any bytes, any JSON and any damaged input, quickly and with its own error', () => {
    const good = Buffer.from(parser.good, 'latin1');
    const damaged = fc.array(damage, { minLength: 1, maxLength: 3 }).map((steps) =>
      steps.reduce((bytes, { at, cut, put }) => {
        const start = at % (bytes.length + 1);
        return Buffer.concat([bytes.subarray(0, start), put, bytes.subarray(start + cut)]);
      }, good),
    );
    const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
    const any = fc.oneof(
      damaged,
      damaged,
      bytes,
      hostileJson.map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(any, (input) => attack(parser, input)),
      { numRuns: 200 },
    );
  });

  test('accepts or rejects many repetitions of one piece, quickly and with its own error', () => {
    for (const piece of PIECES) {
      const input = piece.repeat((parser.bigBytes ?? 200_000) / piece.length);
      attack(parser, Buffer.from(input, 'latin1'));
    }
  });
});

test('objects of any record are stored in the folder of its stream', () => {
  const name = fc.oneof(hostileText, fc.string(), fc.constantFrom('gate', 'a..b', 'x'.repeat(128)));
  fc.assert(
    fc.property(name, name, fc.nat(), (stream_id, session, captured_at) => {
      const record = { ...headers, stream_id, session, captured_at: String(captured_at), detections: '[]' };
      let decoded: SeenFrame;
      try {
        decoded = decodeSeenFrame({ key: stream_id, value: Buffer.from('x'), headers: record });
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidRecordError);
        return;
      }
      const position = { topic: 'detections', partition: 0, offset: 1 };
      for (const key of [annotatedKey('annotated', decoded), detectionsKey(decoded, position)]) {
        expect(posix.normalize(key)).toBe(key);
        expect(key.split('/').slice(0, 2)).toEqual([expect.any(String), stream_id]);
        expect(key).toMatch(/^[\w./=-]+$/);
      }
    }),
  );
});

test('a log line is one line of JSON, for any message', () => {
  const lines: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => lines.push(String(text)) > 0);
  const log = createLogger('test');
  fc.assert(
    fc.property(fc.oneof(hostileText, fc.string({ unit: 'binary', minLength: 1 })), (text) => {
      lines.length = 0;
      log.info(text, { stream: text });
      expect(lines).toEqual([expect.stringMatching(/^[^\n]+\n$/)]);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there.
      expect(lines[0]?.trimEnd()).not.toMatch(/[\x00-\x1f]/);
      expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'INFO', message: text, stream: text });
    }),
  );
});
