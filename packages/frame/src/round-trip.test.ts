import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { DetectedFrame, Detection, Frame, PictureReference } from './frame.ts';
import {
  decodeFrame,
  decodeSeenFrame,
  type EncodedRecord,
  encodeDetectedFrame,
  encodeFrame,
  encodeReference,
  InvalidRecordError,
  type ReceivedRecord,
} from './kafka-record.ts';
import { claimedStream, fromLambdaRecord, type MSKRecord, toLambdaRecord } from './lambda-event.ts';
import { withPictures } from './pictures.ts';

const side = fc.integer({ min: 1, max: 65_535 });
const id = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/);

const anyFrame: fc.Arbitrary<Frame> = fc.record({
  streamId: id,
  frameNumber: fc.maxSafeNat(),
  session: id,
  capturedAt: fc.nat({ max: 8.64e15 }),
  width: side,
  height: side,
  jpeg: fc.uint8Array({ minLength: 1, maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
});

const pixel = fc.double({ min: 0, max: 65_535, noNaN: true }).map((value) => value || 0);
const detection: fc.Arbitrary<Detection> = fc
  .record({
    class_id: fc.nat(),
    class_name: fc.string({ unit: 'grapheme', maxLength: 20 }),
    confidence: fc.double({ min: 0, max: 1, noNaN: true }).map((value) => value || 0),
    corners: fc.tuple(pixel, pixel, pixel, pixel),
    track: fc.option(fc.string({ minLength: 1, maxLength: 64 })),
    keypoints: fc.option(fc.array(fc.tuple(pixel, pixel, pixel), { maxLength: 5 })),
    polygon: fc.option(fc.array(fc.tuple(pixel, pixel), { minLength: 3, maxLength: 9 })),
  })
  .map(({ corners: [a, b, c, d], track, polygon, keypoints, ...rest }) => ({
    ...rest,
    ...(keypoints === null ? {} : { keypoints }),
    ...(polygon === null ? {} : { polygon }),
    ...(track === null ? {} : { track_id: track }),
    bbox: [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)],
  }));

const anyDetectedFrame: fc.Arbitrary<DetectedFrame> = fc
  .tuple(anyFrame, fc.array(detection, { maxLength: 12 }), fc.string({ minLength: 1, maxLength: 40 }))
  .map(([frame, detections, model]) => ({ ...frame, detections, model }));

/** Kafka gives every header back as bytes, and leaves the order of headers to itself. */
function throughKafka(record: EncodedRecord): ReceivedRecord {
  const headers = Object.entries(record.headers)
    .reverse()
    .map(([name, value]) => [name, Buffer.from(value)]);
  return {
    key: Buffer.from(record.key),
    value: Buffer.from(record.value),
    headers: Object.fromEntries(headers),
  };
}

function throughLambda(record: ReceivedRecord): ReceivedRecord {
  const event = toLambdaRecord({ topic: 'video-frames', partition: 2, offset: '7', timestamp: 0 }, record);
  return fromLambdaRecord(JSON.parse(JSON.stringify(event)) as MSKRecord);
}

test('a frame is unchanged after Kafka and a Lambda event, byte by byte', () => {
  fc.assert(
    fc.property(anyFrame, (frame) => {
      expect(decodeFrame(throughLambda(throughKafka(encodeFrame(frame))))).toEqual(frame);
    }),
  );
});

test('a frame with detections is unchanged after Kafka and a Lambda event', () => {
  fc.assert(
    fc.property(anyDetectedFrame, (frame) => {
      expect(decodeSeenFrame(throughLambda(throughKafka(encodeDetectedFrame(frame))))).toEqual(frame);
    }),
  );
});

const good: DetectedFrame = {
  streamId: 'gate',
  frameNumber: 3,
  session: 's1',
  capturedAt: 1_764_000_000_000,
  width: 1280,
  height: 720,
  jpeg: Buffer.from([0xff, 0xd8, 0xff, 0xd9]),
  detections: [{ class_id: 0, class_name: 'person', confidence: 0.9, bbox: [1, 2, 3, 4] }],
  model: 'nanodet',
};

function withHeader(name: string, value: Buffer | string | (Buffer | string)[] | undefined): ReceivedRecord {
  const record = throughKafka(encodeDetectedFrame(good));
  return { ...record, headers: { ...record.headers, [name]: value } };
}

/** The field that a record is refused for, or the frame if it isn't. Nothing but InvalidRecordError may be thrown. */
function refusal(record: ReceivedRecord): unknown {
  try {
    return decodeSeenFrame(record);
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidRecordError);
    expect(String(error)).toContain((error as InvalidRecordError).field);
    return (error as InvalidRecordError).field;
  }
}

const fields = Object.keys(encodeDetectedFrame(good).headers);
const numbers = ['frame_number', 'captured_at', 'width', 'height'];
const notUtf8 = Buffer.from([0x67, 0xff, 0xfe]);

const hostile: [string, string, ReceivedRecord][] = [
  ...fields.flatMap((name): [string, string, ReceivedRecord][] => [
    [name, 'missing', withHeader(name, undefined)],
    [name, 'doubled', withHeader(name, [Buffer.from('1'), Buffer.from('1')])],
    [name, 'empty', withHeader(name, Buffer.alloc(0))],
    [name, 'not UTF-8', withHeader(name, notUtf8)],
    [name, 'huge', withHeader(name, Buffer.alloc(600 * 1024, '1'))],
  ]),
  ...numbers.flatMap((name) =>
    ['-1', '1.5', '1e3', ' 1', '0x10', 'NaN', '9'.repeat(30), '٣'].map(
      (value): [string, string, ReceivedRecord] => [name, value, withHeader(name, value)],
    ),
  ),
  ...['stream_id', 'session'].flatMap((name) =>
    ['../etc', '..', '.', '/abs', 'a/b', 'a b', '-x', 'a\0', 'a\n', 'ä', 'x'.repeat(129)].map(
      (value): [string, string, ReceivedRecord] => [name, value, withHeader(name, value)],
    ),
  ),
  ['width', '0', withHeader('width', '0')],
  ['height', '65536', withHeader('height', '65536')],
  ...['{', '{}', 'null', '[null]', '[1]', '[{"bbox":[4,3,2,1]}]', '[{"__proto__":{"class_id":0}}]'].map(
    (value): [string, string, ReceivedRecord] => ['detections', value, withHeader('detections', value)],
  ),
  ...['', 'x'.repeat(65), 7, null].map((track_id): [string, string, ReceivedRecord] => [
    'detections',
    `track_id ${track_id}`,
    withHeader('detections', JSON.stringify([{ ...good.detections[0], track_id }])),
  ]),
  ['key', 'of another stream', { ...withHeader('model', 'm'), key: Buffer.from('other') }],
  ['value', 'null', { ...withHeader('model', 'm'), value: null }],
  ['value', 'empty', { ...withHeader('model', 'm'), value: Buffer.alloc(0) }],
];

test.each(hostile)('the field %s with the value %j is rejected by its name', (field, _what, record) => {
  expect(refusal(record)).toBe(field);
  expect(refusal(throughLambda(record))).toBe(field);
});

test('a traceparent is kept; a malformed or duplicate one, and unknown headers, are ignored', () => {
  const [frame] = fc.sample(anyFrame, 1) as [Frame];
  const traceparent = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`;
  const traced = { ...frame, traceparent };
  expect(decodeFrame(throughLambda(throughKafka(encodeFrame(traced))))).toEqual(traced);
  const record = throughKafka(encodeFrame(frame));
  for (const wrong of ['', 'x', traceparent.toUpperCase(), `00-${'0'.repeat(32)}-${'cd'.repeat(8)}-01`]) {
    const headers = { ...record.headers, traceparent: Buffer.from(wrong), tracestate: Buffer.from('a=b') };
    expect(decodeFrame({ ...record, headers })).toEqual(frame);
  }
  const twice = [Buffer.from(traceparent), Buffer.from(traceparent)];
  expect(decodeFrame({ ...record, headers: { ...record.headers, traceparent: twice } })).toEqual(frame);
});

test('headers named like members of Object.prototype are ignored', () => {
  const record = throughKafka(encodeDetectedFrame(good));
  const headers = Object.fromEntries([...Object.entries(record.headers ?? {}), ['constructor', 'x']]);
  Object.defineProperty(headers, '__proto__', { value: Buffer.from('x'), enumerable: true });
  expect(refusal({ ...record, headers })).toEqual(good);
  expect(refusal(throughLambda({ ...record, headers }))).toEqual(good);
  expect(refusal({ ...record, headers: undefined })).toBe('stream_id');
});

test('a lone surrogate in a class name is replaced, and similar text is unchanged', () => {
  const { detections: _former, ...frame } = good;
  const [{ class_name: _name, ...one }] = good.detections as [(typeof good.detections)[0]];
  const names = [String.raw`dog \ud83d`, String.raw`a\\ud83d`, String.raw`\ud83d\udc36`, 'dog'];
  const text = `[${names.map((name) => `{"class_name":"${name}",${JSON.stringify(one).slice(1)}`)}]`;
  const record = throughKafka(encodeDetectedFrame({ ...frame, detections: [] }));
  const headers = { ...record.headers, detections: Buffer.from(text) };
  expect(decodeSeenFrame({ ...record, headers }).detections.map(({ class_name }) => class_name)).toEqual([
    'dog \ufffd',
    String.raw`a\ud83d`,
    '🐶',
    'dog',
  ]);
});

test('any record is decoded to a frame, or rejected with InvalidRecordError', () => {
  const bytes = fc.uint8Array({ maxLength: 30 }).map((array) => Buffer.from(array));
  const value = fc.oneof(bytes, fc.string(), fc.array(bytes), fc.constant(undefined));
  const name = fc.oneof(fc.constantFrom(...fields, 'picture', '__proto__', 'constructor'), fc.string());
  const record = fc.record({
    key: fc.oneof(bytes, fc.constantFrom(null, Buffer.from('gate'))),
    value: fc.oneof(bytes, fc.constant(null)),
    headers: fc.dictionary(name, value),
  });
  fc.assert(
    fc.property(record, fc.subarray(fields), (received, kept) => {
      const valid = throughKafka(encodeDetectedFrame(good)).headers ?? {};
      const headers = {
        ...Object.fromEntries(kept.map((field) => [field, valid[field]])),
        ...received.headers,
      };
      refusal({ ...received, headers });
      refusal(throughLambda({ ...received, headers }));
    }),
  );
});

test('a record that has its stream only in its key belongs to that stream', () => {
  const position = { topic: 'video-frames', partition: 0, offset: '1', timestamp: 1 };
  const of = (key: string | null, headers: Record<string, string>) =>
    claimedStream(toLambdaRecord(position, { key, value: Buffer.of(), headers }));
  expect(of('yard', {})).toBe('yard');
  expect(of('gate', { stream_id: 'yard' })).toBe('yard');
  expect(of(null, {})).toBe('unknown');
});

test('too deeply nested detections or too many events make a dead letter, and do not fail the batch', () => {
  const { key, value, headers } = encodeDetectedFrame({ ...FRAME, detections: [], model: 'm' });
  const decode = (more: Record<string, string>) =>
    decodeSeenFrame(throughLambda({ key, value, headers: { ...headers, ...more } }));
  const nested = (levels: number) =>
    `[{"class_id":0,"class_name":"x","confidence":1,"bbox":[0,0,1,1],"own":${'['.repeat(levels)}${']'.repeat(levels)}}]`;
  expect(JSON.parse(JSON.stringify(decode({ detections: nested(30) }).detections))).toHaveLength(1);
  expect(() => decode({ detections: nested(20_000) })).toThrow(
    "record header 'detections' is nested over 32 levels deep",
  );
  expect(decode({ earlier_events: '1,2,x' })).toMatchObject({ earlierEvents: [1, 2] });
  for (const name of ['events', 'earlier_events'])
    expect(() => decode({ [name]: '1,'.repeat(300_000) })).toThrow(
      `record header '${name}' has 600000 characters, over 524288`,
    );
});

test("a record's time in a Lambda event is the broker's, as our topics and so AWS have it", () => {
  const position = { topic: 'video-frames', partition: 2, offset: '7', timestamp: 5 };
  const event = toLambdaRecord(position, { key: 'yard', value: null, headers: {} });
  expect(event).toMatchObject({ timestamp: 5, timestampType: 'LOG_APPEND_TIME' });
});

test('a record with a null value, or with null in a header, in a Lambda event is read', () => {
  const { headers, ...record } = toLambdaRecord(
    { topic: 't', partition: 0, offset: '1', timestamp: 1 },
    { key: 'yard', value: null, headers: { stream_id: 'yard' } },
  );
  const event = { ...record, value: null, headers: [...headers, { note: null }] };
  expect(fromLambdaRecord(JSON.parse(JSON.stringify(event)))).toMatchObject({
    value: null,
    headers: { stream_id: Buffer.from('yard'), note: Buffer.alloc(0) },
  });
});

test('a record with a picture reference gives the frame, unless the picture is missing or another one', async () => {
  const place = fc.record({ topic: id, partition: fc.nat(), offset: fc.maxSafeNat(), annotated_key: id });
  await fc.assert(
    fc.asyncProperty(anyDetectedFrame, place, async (frame, picture: PictureReference) => {
      const record = throughLambda(throughKafka(encodeReference(frame, picture)));
      const { jpeg, ...facts } = frame;
      expect(decodeSeenFrame(record)).toEqual({ ...facts, picture });
      const lies = (one: Frame) => async () => [{ ...throughKafka(encodeFrame(one)), ...picture }];
      const carried = decodeSeenFrame(throughKafka(encodeDetectedFrame(frame)));
      const seen = [decodeSeenFrame(record), carried];
      expect(await withPictures(seen, lies(frame))).toEqual([frame, frame]);
      expect(await withPictures(seen, async () => [])).toEqual([frame]);
      expect(await withPictures(seen, lies({ ...frame, session: `${frame.session}x` }))).toEqual([frame]);
      const noFrame = { key: null, value: Buffer.from('{}'), headers: {}, ...picture };
      expect(await withPictures(seen, async () => [noFrame])).toEqual([frame]);
      expect(jpeg.length).toBeGreaterThan(0);
    }),
  );
});

test.each([
  ['', 'is empty'],
  ['{', 'is not JSON'],
  [notUtf8, 'is not UTF-8'],
  [[Buffer.from('{}'), Buffer.from('{}')], 'is there 2 times'],
  ['[]', 'does not have topic'],
  ['null', 'does not have topic'],
  ['{"topic":"t","partition":0.5,"offset":1,"annotated_key":"k"}', 'does not have topic'],
])('a malformed picture reference, %j, is an error that names it', (picture, problem) => {
  const { key, headers } = encodeDetectedFrame({ ...FRAME, detections: [], model: 'm' });
  const record = { key, value: Buffer.alloc(0), headers: { ...headers, picture } };
  expect(() => decodeSeenFrame(record)).toThrow(`record header 'picture' ${problem}`);
});

test('a record without a picture and a reference has no JPEG, and with both the picture is used', () => {
  const { key, value, headers } = encodeDetectedFrame({ ...FRAME, detections: [], model: 'm' });
  expect(() => decodeSeenFrame({ key, value: Buffer.alloc(0), headers })).toThrow('is empty: no JPEG');
  expect(decodeSeenFrame({ key, value, headers: { ...headers, picture: '{' } })).toMatchObject({
    jpeg: value,
  });
});

const FRAME = {
  streamId: 'gate',
  frameNumber: 1,
  session: 's',
  capturedAt: 1,
  width: 1,
  height: 1,
  jpeg: Buffer.from('x'),
};
