import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { annotatedKey, detectionsKey } from '@video-pipeline/frame';
import { connectS3, ensureBucket } from '@video-pipeline/local';
import { createReader, createStore, packArchive } from '@video-pipeline/storage';
import { compact, exported, type Format, Tables } from '@video-pipeline/tables';
import { describe, expect, inject, test, vi } from 'vitest';
import { createMqttReceiver } from '../../functions/src/frigate.ts';
import { connectMqtt } from '../../functions/src/mqtt.ts';
import { type PythonPeer, peerPython } from '../bench/peers/python.ts';
import { hasCommand } from '../support/has-command.ts';
import { startMqttBroker } from '../support/mqtt-broker.ts';
import { unique } from '../support/unique.ts';
import { sceneEvent } from './console-fixture.ts';

const TOOLS: PythonPeer = {
  name: 'history',
  packages: [
    ...['duckdb==2.0.1', 'numpy==2.4.6', 'paho-mqtt==2.2.0', 'pyarrow==26.0.1', 'pycocotools==2.0.11'],
    'webdataset==1.0.2',
  ],
};
const READ_ARCHIVE = `
import json, sys, webdataset
for sample in webdataset.WebDataset('file:' + sys.argv[1], shardshuffle=False):
    print(sample['__key__'], len(sample['jpg']), json.loads(sample['json'])['frame_number'])
`;
const ROOT = join(import.meta.dirname, '../..');
const START = Date.UTC(2026, 8, 25, 7);
/** Frame number, class, zone: one frame shows nothing. */
const SEEN: [number, string, string[]][] = [
  [0, 'person', ['lawn']],
  [1, 'person', []],
  [3, 'dog "Rex"', []],
];

const linesOf = () =>
  [0, 1, 2, 3].map((number) => {
    const frame = { streamId: 'yard', capturedAt: START + number, frameNumber: number };
    const seen = SEEN.filter(([of]) => of === number).map(([, class_name, zones], i) => ({
      ...{ class_id: i, class_name, confidence: 0.75, bbox: [10, 20, 30 + number, 60] },
      ...{ track_id: 't-0', ...(zones.length > 0 && { zones }) },
    }));
    return JSON.stringify({
      ...{ stream_id: 'yard', session: 's', frame_number: number, captured_at: frame.capturedAt, width: 100 },
      ...{ height: 80, model: 'm', detections: seen, annotated_key: annotatedKey('annotated', frame) },
    });
  });

describe.skipIf(!hasCommand('python3'))('with Python packages (needs python3)', () => {
  test("exports load in pycocotools and pyarrow, and the notebook's SQL reads the bucket", async ({
    onTestFinished,
  }) => {
    const folder = await mkdtemp(join(tmpdir(), 'history-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const { url, ...credentials } = inject('s3');
    const client = connectS3(url, credentials);
    const S3_BUCKET = unique('history');
    await ensureBucket(client, S3_BUCKET);
    client.destroy();
    const settings = { S3_BUCKET, AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: url };
    for (const [name, value] of Object.entries(credentials)) vi.stubEnv(name, value);
    onTestFinished(() => void vi.unstubAllEnvs());
    const bucket = { ...createReader(settings), ...createStore(settings) };
    const key = detectionsKey(
      { streamId: 'yard', capturedAt: START },
      { topic: 'd', partition: 0, offset: 0 },
    );
    const [first = ''] = linesOf();
    // Of the next hour, whose rows come into the same file.
    const later = {
      ...JSON.parse(first),
      frame_number: 9,
      captured_at: START + 3_600_000,
      annotated_key: 'later.jpg',
    };
    const body = [...linesOf(), JSON.stringify(later)].join('\n');
    await bucket.put({ key, body, contentType: 'application/x-ndjson' });
    expect(await compact(bucket, { all: true })).toMatchObject({ frames: 5, written: 1 });

    const tables = new Tables(bucket);
    onTestFinished(() => tables.close());
    const write = async (format: Format) => {
      const path = join(folder, format);
      const query = { confidence: 0, from: START, to: START + 100, limit: 100 };
      const pieces = exported(tables, query, format, { reader: bucket });
      await pipeline(Readable.from(pieces), createWriteStream(path));
      return path;
    };
    const files = [await write('coco'), await write('parquet')];
    const python = await peerPython(TOOLS);
    const env = { ...process.env, ...credentials, ...settings, AWS_PROFILE: undefined };
    const run = async (...args: string[]) => (await promisify(execFile)(python, args, { env })).stdout;
    const [read, hours] = await Promise.all([
      run(join(ROOT, 'test/support/read-exports.py'), ...files),
      run('-B', join(ROOT, 'examples/history.py')),
    ]);
    const { columns, ...found } = JSON.parse(read);
    expect(columns).toEqual(expect.arrayContaining(['stream_id', 'captured_at', 'confidence', 'track_id']));
    const [dog, second, earliest] = SEEN.toReversed().map(([number, class_name, zones]) => ({
      ...{ frame_number: number, class_name, x2: 30 + number },
      zones: zones.length > 0 ? zones : null,
    }));
    expect(found).toEqual({
      images: [3, 2, 1, 0].map((number) =>
        annotatedKey('annotated', { streamId: 'yard', capturedAt: START + number, frameNumber: number }),
      ),
      categories: ['dog "Rex"', 'person'],
      boxes: [3, 1, 0].map((number) => [10, 20, 20 + number, 40]),
      precision: 1,
      rows: expect.arrayContaining([dog, second, earliest]),
    });
    expect(hours).toBe(
      '2026-09-25 07:00  yard  2 times person, 1 tracks\n2026-09-25 08:00  yard  1 times person, 1 tracks\n',
    );
  }, 240_000);

  test("Eclipse's MQTT client gets events in Frigate's format, also when it subscribes late", async ({
    onTestFinished,
  }) => {
    const broker = await startMqttBroker();
    onTestFinished(broker.stop);
    const logger = { info() {}, warn() {} };
    const access = { url: broker.url, username: 'pipeline', password: 'secret' };
    const connection = connectMqtt({ ...access, prefix: 'frigate', publishesAvailability: true, logger });
    onTestFinished(() => connection.close());
    await connection.publish('frigate/warm-up', '');
    const python = await peerPython(TOOLS);
    const script = join(ROOT, 'test/support/subscribe-mqtt.py');
    const args = [script, String(broker.port), 'pipeline', 'secret', 'frigate/#'];
    const child = spawn(python, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(async () => {
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    });
    const got = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async () => (await got.next()).value ?? 'the client has ended';
    // What is retained may come before the answer to the subscription, or after it.
    expect([await next(), await next()].sort()).toEqual(['["frigate/available", "online", true]', 'ready']);
    const send = createMqttReceiver(connection, 'frigate');
    const event = sceneEvent('yard', 1, START);
    expect(await send(event)).toBeUndefined();
    const [topic, text] = JSON.parse(await next());
    expect(topic).toBe('frigate/events');
    expect(JSON.parse(text)).toMatchObject({
      type: 'new',
      after: { camera: 'yard', label: 'person' },
      event,
    });
  }, 240_000);

  test('webdataset reads an archive picture by picture, and finds nothing else in it', async ({
    onTestFinished,
  }) => {
    const folder = await mkdtemp(join(tmpdir(), 'archive-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const items = [7, 8, 9].map((frameNumber) => ({
      frame: { streamId: 'yard', frameNumber, capturedAt: 1_795_590_000_000 + frameNumber },
      jpeg: Buffer.alloc(600 * frameNumber, frameNumber),
      line: JSON.stringify({ frame_number: frameNumber }),
    }));
    const file = join(folder, 'archive.tar');
    await writeFile(file, packArchive(items).body);
    const python = await peerPython(TOOLS);
    const { stdout } = await promisify(execFile)(python, ['-c', READ_ARCHIVE, file]);
    const expected = items.map(
      ({ frame, jpeg }) => `${frame.capturedAt}-${frame.frameNumber} ${jpeg.length} ${frame.frameNumber}`,
    );
    expect(stdout.trim().split('\n')).toEqual(expected);
  }, 240_000);
});
