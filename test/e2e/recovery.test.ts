import { setTimeout as sleep } from 'node:timers/promises';
import {
  annotatedKey,
  type DetectedFrame,
  type Detection,
  decodeSeenFrame,
  encodeDetectedFrame,
  encodeFrame,
  encodeReference,
  type MSKRecord,
  type PictureReference,
  type SeenFrame,
  toLambdaRecord,
  withPictures,
} from '@video-pipeline/frame';
import { createAnnotateFrames } from '@video-pipeline/functions/annotate';
import {
  type Admin,
  createTail,
  ensureTopics,
  type Kafka,
  orderedProducer,
  withAdmin,
} from '@video-pipeline/kafka';
import {
  audit,
  isClean,
  listFailed,
  type PositionedRecord,
  readTopic,
  redrive,
  replay,
} from '@video-pipeline/recovery';
import { createPutFailed } from '@video-pipeline/storage';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { createPictureChooser, earlierFrom } from '../../functions/src/keep-pictures.ts';
import { unique } from '../support/unique.ts';
import { type RecoveryRig, spotFrame, startRecoveryRig } from './recovery-rig.ts';

let rig: RecoveryRig;
beforeAll(async () => {
  rig = await startRecoveryRig();
});
afterAll(() => rig?.stop());

test('the audit is clean when each frame is stored, and names a missing frame', async () => {
  const frames = await Promise.all([0, 1, 2, 3].map(spotFrame));
  const options = await rig.publish(frames);
  await rig.storeFrames(options.s3Prefix, frames.slice(1));

  expect(await audit(options)).toMatchObject({
    published: 4,
    annotated: 3,
    missing: ['yard/s1/0'],
    wrongPixels: [],
  });
  await rig.storeFrames(options.s3Prefix, frames.slice(0, 1));
  expect(isClean(await audit(options))).toBe(true);
  // What a listing leaves out is looked for before it is called missing.
  const { bucket } = options;
  const forgetful: typeof bucket = {
    ...bucket,
    async page(prefix, how) {
      const page = await bucket.page(prefix, how);
      return { ...page, objects: page.objects.slice(1) };
    },
  };
  expect(await audit({ ...options, bucket: forgetful })).toMatchObject({ annotated: 4, missing: [] });
});

test('the audit does not wait for records that expire while it reads, nor for a deleted topic', async () => {
  const { framesTopic: topic } = await rig.publish(await Promise.all([0, 1].map(spotFrame)));
  /** The ends are known by then, and no record is read. */
  const once = (change: (admin: Admin) => Promise<unknown>): Kafka => ({
    ...rig.kafka,
    admin() {
      const admin = rig.kafka.admin();
      const fetchTopicOffsets: Admin['fetchTopicOffsets'] = async (name) => {
        const offsets = await admin.fetchTopicOffsets(name);
        await change(admin);
        return offsets;
      };
      return { ...admin, fetchTopicOffsets };
    },
  });
  const expiring = once((admin) =>
    admin.deleteTopicRecords({ topic, partitions: [0, 1].map((partition) => ({ partition, offset: '-1' })) }),
  );
  const read: PositionedRecord[] = [];
  await readTopic(expiring, topic, (record) => void read.push(record));
  expect(read).toEqual([]);

  // The rig's producer would ask for the deleted topic each time.
  const [other, producer] = [unique('deleted'), orderedProducer(rig.kafka)];
  await withAdmin(rig.kafka, (admin) => ensureTopics(admin, [{ topic: other, partitions: 1 }]));
  await producer.connect();
  await producer.send({ topic: other, messages: [encodeFrame(await spotFrame(0))] });
  await producer.disconnect();
  const deleting = once((admin) => admin.deleteTopics({ topics: [other] }));
  await expect(readTopic(deleting, other, () => {})).rejects.toThrow(`can't read ${other}-`);
});

test('the audit finds a frame whose stored picture is that of another frame', async () => {
  const frames = await Promise.all([0, 1, 2, 3].map(spotFrame));
  const options = await rig.publish(frames);
  await rig.storeFrames(options.s3Prefix, frames, (one) =>
    one.frameNumber === 2 ? (frames[3]?.jpeg ?? one.jpeg) : one.jpeg,
  );

  expect((await audit(options)).wrongPixels).toEqual(['yard/s1/2']);
});

test('the audit finds detections that were published with another picture', async () => {
  const frames = await Promise.all([0, 1].map(spotFrame));
  const options = await rig.publish(frames);
  await rig.storeFrames(options.s3Prefix, frames);
  const wrong = { ...(await spotFrame(1)), jpeg: (await spotFrame(5)).jpeg };
  await rig.producer.send({ topic: options.detectionsTopic, messages: [encodeDetectedFrame(wrong)] });

  expect((await audit(options)).mixedUp).toEqual(['yard/s1/1']);
});

test('with PICTURES=once, the audit and subscribers read pictures from S3', async () => {
  const frames = await Promise.all([0, 1, 2].map(spotFrame));
  const options = await rig.publish(frames, 'once');
  expect(await audit(options)).toMatchObject({
    missing: frames.map(({ frameNumber }) => `yard/s1/${frameNumber}`),
  });
  // Detect is annotate here, and puts away what it was given.
  await rig.fail(options.framesTopic, () => 'can not be drawn', 'annotate');
  expect(await audit(options)).toMatchObject({ failed: 3, missing: [], mixedUp: [] });
  await options.bucket.remove(await Array.fromAsync(options.bucket.list('failed/')));
  await rig.storeFrames(options.s3Prefix, frames);
  expect(await audit(options)).toMatchObject({ annotated: 3, missing: [], both: [], mixedUp: [] });

  const seen: SeenFrame[] = [];
  await readTopic(rig.kafka, options.detectionsTopic, (record) => void seen.push(decodeSeenFrame(record)));
  const tail = createTail(rig.kafka);
  onTestFinished(() => tail.close());
  expect(await withPictures(seen, (positions) => tail.at(positions))).toEqual(frames);
  // What is not there is left out.
  const gone = { topic: options.framesTopic, partition: 0, offset: 1_000 };
  expect(await tail.at([gone])).toEqual([]);
  // Nor does a topic or partition that is not there harm the others.
  const wrongPlaces = ['nowhere', 'no topic!', ''].map((topic) => ({ ...gone, topic }));
  const places = seen.flatMap((one) => ('picture' in one ? [one.picture] : []));
  const mixed = [...wrongPlaces, { ...gone, partition: 99 }, ...places];
  expect(await tail.at(mixed)).toMatchObject(places.map(({ offset }) => ({ offset })));

  const picture =
    'picture' in (seen[2] ?? {}) ? (seen[2] as { picture: PictureReference }).picture : undefined;
  const wrong = encodeReference(frames[1] as DetectedFrame, picture as PictureReference);
  await rig.producer.send({ topic: options.detectionsTopic, messages: [wrong] });
  expect((await audit(options)).mixedUp).toEqual(['yard/s1/2']);
});

test.each(['twice', 'once'] as const)(
  'with STORE=events, pictures near an event are stored, and the audit counts the others (PICTURES=%s)',
  async (pictures) => {
    const person: Detection = { class_id: 0, class_name: 'person', confidence: 0.9, bbox: [1, 2, 30, 40] };
    const frames = await Promise.all(Array.from({ length: 10 }, (_, number) => spotFrame(number)));
    const found = frames[7];
    if (found) found.detections = [person];
    const options = await rig.publish(frames, pictures);
    // What the stage reads: detect's own topic where it annotates too.
    const records: PositionedRecord[] = [];
    const topic = pictures === 'once' ? options.framesTopic : options.detectionsTopic;
    await readTopic(rig.kafka, topic, (record) => void records.push(record));
    const tail = createTail(rig.kafka);
    onTestFinished(() => tail.close());
    const annotate = createAnnotateFrames({
      store: rig.store,
      prefix: options.s3Prefix,
      form: 'events',
      choosePictures: createPictureChooser(
        { classes: new Set(['person']), beforeMs: 3, afterMs: 1 },
        earlierFrom(tail, options.detectionsTopic),
      ),
      putFailed: createPutFailed(rig.store, 'annotate'),
      logger: { warn: () => expect.unreachable() },
    });
    const received = records.map(({ partition, offset }, index) => ({
      record: { topic, partition, offset } as MSKRecord,
      frame: frames[index] as DetectedFrame,
    }));
    for (const batch of [received.slice(0, 6), received.slice(6)]) await annotate(batch);
    expect(await audit({ ...options, pixels: false })).toMatchObject({
      published: 10,
      annotated: 5,
      notKept: 5,
      missing: [],
    });
    const stored = await Array.fromAsync(options.bucket.list(`${options.s3Prefix}/`));
    expect(stored).toEqual(frames.slice(4, 9).map((one) => annotatedKey(options.s3Prefix, one)));
  },
);

test('a failed record is listed with its reason, redriven unchanged, and removed from failed/', async () => {
  const frames = [await spotFrame(7)];
  const options = await rig.publish(frames);
  const records: Parameters<typeof toLambdaRecord>[1][] = [];
  await readTopic(rig.kafka, options.framesTopic, (record) => void records.push(record));
  await rig.fail(options.framesTopic, () => 'corrupt JPEG');
  expect(await audit(options)).toMatchObject({ failed: 1, annotated: 0, missing: [] });

  const entries = await Array.fromAsync(listFailed(options.bucket, { stream: 'yard', reason: 'corrupt' }));
  expect(entries).toMatchObject([{ stage: 'detect', reason: 'corrupt JPEG' }]);
  expect(await Array.fromAsync(listFailed(options.bucket, { stream: 'other' }))).toEqual([]);
  for (const entry of entries) await redrive(options.bucket, rig.producer, entry, options.config);

  const again: typeof records = [];
  await readTopic(rig.kafka, options.framesTopic, (record) => void again.push(record));
  expect(again).toHaveLength(2);
  expect(again.map(({ key, value, headers }) => ({ key, value, headers }))).toEqual(
    [...records, ...records].map(({ key, value, headers }) => ({ key, value, headers })),
  );
  expect(await Array.fromAsync(options.bucket.list('failed/'))).toEqual([]);
});

test('the audit counts dead letters of the poller and of each stage', async () => {
  const frames = [await spotFrame(1), await spotFrame(2)];
  const options = await rig.publish(frames);
  await rig.fail(options.framesTopic, () => 'too large for any invocation', 'event-source');
  await rig.fail(options.detectionsTopic, () => 'no answer', 'clip');
  expect(await audit(options)).toMatchObject({
    failed: 2,
    missing: [],
    failedRecords: { detect: 0, annotate: 0, notify: 0, clip: 2, 'event-source': 2 },
  });

  // A frame that was too large for annotate alone, and one that a clip lacks: the frame is stored all the same.
  await options.bucket.remove(await Array.fromAsync(options.bucket.list('failed/event-source/')));
  await rig.storeFrames(options.s3Prefix, frames.slice(1));
  await rig.fail(options.detectionsTopic, () => 'too large for any invocation', 'event-source');
  expect(await audit(options)).toMatchObject({ failed: 2, missing: [], both: ['yard/s1/2'] });
});

test('a dead letter of a former cluster at the same offset does not hide a lost frame', async () => {
  const [first, second] = [await spotFrame(0), await spotFrame(1)];
  const options = await rig.publish([first]);
  const { framesTopic: topic, config } = options;
  const former: MSKRecord[] = [];
  await readTopic(rig.kafka, topic, (record) => {
    const position = { topic, partition: record.partition, offset: String(record.offset + 1), timestamp: 5 };
    former.push(toLambdaRecord(position, record));
  });
  for (const record of former) await createPutFailed(rig.store, 'detect')(record, 'is no JPEG');
  // S3 tells whole seconds.
  await sleep(2_100);
  await rig.producer.send({ topic, messages: [encodeFrame(second)] });
  expect((await audit(options)).missing).toEqual(['yard/s1/0', 'yard/s1/1']);
  await rig.storeFrames(config.S3_PREFIX, [first, second]);
  expect(await audit(options)).toMatchObject({ annotated: 2, failed: 0, both: [] });
});

test('frames in a batch that Lambda gave up on are in the audit, listed and redriven', async () => {
  const frames = await Promise.all([0, 1, 2].map(spotFrame));
  const options = await rig.publish(frames);
  expect((await audit(options)).missing).toHaveLength(3);
  await rig.giveUp(options.framesTopic);
  await rig.store.put({ key: 'aws/lambda/junk', body: 'junk', contentType: '' });
  expect(await audit(options)).toMatchObject({
    ...{ failed: 3, missing: [], failedRecords: { detect: 3 } },
    unreadable: ['aws/lambda/junk'],
  });
  await options.bucket.remove(['aws/lambda/junk']);

  const entries = await Array.fromAsync(listFailed(options.bucket, { stage: 'detect' }));
  expect(entries).toMatchObject([{ reason: 'RetryAttemptsExhausted after 11 attempts, 3 records' }]);
  for (const entry of entries) await redrive(options.bucket, rig.producer, entry, options.config);
  const again: number[] = [];
  await readTopic(rig.kafka, options.framesTopic, (record) => void again.push(record.offset));
  expect(again).toHaveLength(6);
  expect(await Array.fromAsync(options.bucket.list('aws/'))).toEqual([]);
});

test('a replay processes the frames of a time range again, into a folder of its own', async () => {
  const [now, hour] = [Date.now(), 3_600_000];
  // The clock of their camera is an hour ahead.
  const frames = (await Promise.all([0, 1, 2, 3, 4].map(spotFrame))).map((frame, index) => ({
    ...frame,
    capturedAt: now + hour + index,
  }));
  const options = await rig.publish(frames);
  const seen: Detection = { class_id: 1, class_name: 'cat', confidence: 0.9, bbox: [10, 10, 60, 60] };
  const before = await Array.fromAsync(options.bucket.list(''));
  const again = (maxAheadMs: number, error?: string) =>
    replay({
      kafka: rig.kafka,
      config: { ...options.config, S3_PREFIX: 'annotated', STORE: 'frames', JPEG_QUALITY: 10, BATCH_SIZE: 2 },
      detector: {
        detect: async (batch) =>
          batch.map(({ width, height }) =>
            error ? { model: 'other', error } : { model: 'other', width, height, detections: [seen] },
          ),
      },
      store: rig.store,
      folder: 'replay/one',
      from: frames[1]?.capturedAt ?? 0,
      to: frames[4]?.capturedAt ?? 0,
      logger: console,
      progress: () => {},
      maxAheadMs,
    });
  // Its records were written earlier than they may have been.
  expect(await again(hour / 2)).toEqual({ frames: 0, failed: 0 });
  expect(await again(2 * hour)).toEqual({ frames: 3, failed: 0 });
  const added = (await Array.fromAsync(options.bucket.list(''))).filter((key) => !before.includes(key));
  const annotated = frames.slice(1, 4).map((one) => `replay/one/${annotatedKey('annotated', one)}`);
  expect(added.filter((key) => key.endsWith('.jpg')).sort()).toEqual(annotated.sort());
  const picture = (await options.bucket.read(annotated[0] ?? '')) ?? Buffer.alloc(0);
  // The first step of the first quantisation table is 80 at a quality of 10, and 5 at the default of 85.
  expect(picture[picture.indexOf('ffdb', 0, 'hex') + 5]).toBe(80);
  const ndjson = await Promise.all(
    added.filter((key) => key.endsWith('.ndjson')).map(async (key) => String(await options.bucket.read(key))),
  );
  const lines = ndjson.join('').trim().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toMatchObject(
    [1, 2, 3].map((frame_number) => ({ frame_number, model: 'other', detections: [seen] })),
  );
  expect(added.every((key) => key.startsWith('replay/one/'))).toBe(true);
  expect(await again(2 * hour, 'is no picture')).toEqual({ frames: 3, failed: 3 });
});
