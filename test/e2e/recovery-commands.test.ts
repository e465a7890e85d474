import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  annotatedKey,
  detectionsFolder,
  LOST_BATCHES,
  type MSKRecord,
  toLambdaRecord,
} from '@video-pipeline/frame';
import { ensureTopics, withAdmin } from '@video-pipeline/kafka';
import { createPutFailed } from '@video-pipeline/storage';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, onTestFinished, test } from 'vitest';
import type { Batch } from '../../packages/event-source/src/batcher.ts';
import { toS3Destination } from '../../packages/event-source/src/on-failure.ts';
import { CommandHost } from '../support/command-host.ts';
import { startFakeServer } from '../support/fake-server.ts';
import { mskEvent } from '../support/msk-event.ts';
import { unique } from '../support/unique.ts';
import { BUCKET, type RecoveryRig, spotFrame, startRecoveryRig } from './recovery-rig.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const { scripts } = JSON.parse(readFileSync(resolve(ROOT, 'package.json'), 'utf8'));

const programs = new CommandHost();
let rig: RecoveryRig;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  rig = await startRecoveryRig();
});
afterAll(() => Promise.all([rig?.stop(), programs.stop()]));

type Name = 'audit' | 'failed' | 'replay';

/** Runs what `npm run <name>` runs: it finds out which pipeline is meant, and starts the program for that. */
function command(name: Name, ...args: string[]) {
  const [, node, ...script] = scripts[name].split(' ');
  expect(node).toBe('node');
  return run([...script, ...args]);
}

/** Runs the program alone, where `env` says which pipeline is meant. */
function program(name: Name, ...args: string[]) {
  return programs.run(join(ROOT, `packages/recovery/src/${name}-command.ts`), args, env);
}

function run(args: string[]) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((done) => {
    const options = { cwd: ROOT, env: { ...process.env, NODE_OPTIONS: '', ...env } };
    const child = execFile(process.execPath, args, options, (_error, stdout, stderr) =>
      done({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

beforeEach(() => {
  env = { ...rig.storage, KAFKA_BOOTSTRAP_SERVERS: inject('kafka') };
});

test.each([
  ['audit', '--json', []],
  ['failed', 'purge', []],
  ['failed', '--reason', ['redrive']],
  ['replay', '--from', []],
] as const)('npm run %s prints its usage, with %s', async (name, told, args) => {
  const { code, stdout } = await command(name, ...args, '--help');
  expect(code).toBe(0);
  expect(stdout).toContain(`Usage: npm run ${name} -- `);
  expect(stdout).toContain(told);
});

test.each([
  ['replay', ['--from', 'yesterday', '--to', '2026-11-25'], 'not a time such as 2026-11-25T07:30:00Z'],
  ['replay', ['--from', '2026-11-25'], "required option '--to <time>' not specified"],
  ['failed', ['list', '--to', 'noon'], 'not a time such as'],
  [
    'failed',
    ['show', 'failed/detect/none-0-1'],
    "there is no failed/detect/none-0-1: 'npm run failed -- list'",
  ],
  ['failed', ['undo'], "unknown command 'undo'"],
  ['audit', ['--pixel'], "unknown option '--pixel'"],
] as const)('npm run %s %j exits with 1 and the error: %s', async (name, args, told) => {
  const { code, stderr } = await program(name, ...args);
  expect(code).toBe(1);
  expect(stderr).toContain(told);
});

test('npm run failed -- --stage with a stage that is not deployed is an error', async () => {
  const { code, stderr } = await command('failed', 'list', '--stage', 'staging');
  expect(code).toBe(1);
  expect(stderr).toContain("does not name stage 'staging'");
});

test.each(['failed list', 'audit', 'replay --from 2026-11-25 --to 2026-11-26'])(
  '%s finds the local stack, or reports within 5 s that there is none',
  async (line) => {
    const [name, ...args] = line.split(' ') as ['failed' | 'audit' | 'replay', ...string[]];
    const folder = await mkdtemp(join(tmpdir(), 'nothing-runs-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    env = { HOME: folder, AWS_EC2_METADATA_DISABLED: 'false' };
    for (const variable of ['KAFKA_BOOTSTRAP_SERVERS', 'AWS_ENDPOINT_URL', 'S3_BUCKET']) env[variable] = '';
    const began = performance.now();
    const nothing = await command(name, ...args, '--data-dir', folder);
    expect(nothing.code).toBe(1);
    expect(nothing.stderr).toContain(`nothing runs on ${folder}: start it with 'npm start'`);
    expect(performance.now() - began).toBeLessThan(5_000);
    // As `npm start` leaves it while it runs.
    await mkdir(join(folder, 'run'));
    await writeFile(join(folder, 'run/supervisor.pid'), String(process.pid));
    const endpoints = {
      kafka: inject('kafka'),
      s3: rig.storage.AWS_ENDPOINT_URL,
      inference: 'http://127.0.0.1:1',
    };
    await writeFile(
      join(folder, 'run/state.json'),
      JSON.stringify({ pid: process.pid, endpoints, services: {} }),
    );
    env = {
      ...env,
      S3_BUCKET: BUCKET,
      KAFKA_TOPIC: 'none-of-this-name',
      AWS_ACCESS_KEY_ID: '',
      AWS_SECRET_ACCESS_KEY: '',
    };
    const found = await command(name, ...args, '--data-dir', folder);
    expect(found.stderr).toContain(`${name}: the stack on ${folder}, process ${process.pid}`);
    expect(found.code, found.stderr).toBe(0);
  },
);

test.each([
  ['KAFKA_BOOTSTRAP_SERVERS', '127.0.0.1:1', 'Kafka at 127.0.0.1:1 does not answer'],
  ['AWS_ENDPOINT_URL', 'http://127.0.0.1:1', `the bucket ${BUCKET} at http://127.0.0.1:1 does not answer`],
])('npm run audit reports within 5 s that nothing responds at %s', async (variable, value, told) => {
  env[variable] = value;
  const began = performance.now();
  const { code, stderr } = await program('audit');
  expect(stderr).toContain(told);
  expect(code).toBe(1);
  expect(performance.now() - began).toBeLessThan(6_000);
});

test('npm run failed exits with 1 and the address when the bucket does not respond', async () => {
  env.AWS_ENDPOINT_URL = 'http://127.0.0.1:1';
  const { code, stderr } = await program('failed', 'list');
  expect(code).toBe(1);
  expect(stderr).toContain('ECONNREFUSED 127.0.0.1:1');
});

describe('with frames 1 and 2 published', () => {
  let options: Awaited<ReturnType<RecoveryRig['publish']>>;
  /** They are on topics of their own. */
  beforeEach(async () => {
    options = await rig.publish([await spotFrame(1), await spotFrame(2)]);
    Object.assign(env, {
      KAFKA_TOPIC: options.framesTopic,
      KAFKA_DETECTIONS_TOPIC: options.detectionsTopic,
      S3_PREFIX: options.s3Prefix,
    });
  });

  test('failed list filters by time, and prints a line when nothing matches', async () => {
    const none = await program('failed', 'list');
    expect(none).toMatchObject({ code: 0, stdout: '', stderr: 'nothing has failed that matches\n' });
    await rig.fail(options.framesTopic, () => 'too dark', 'detect');
    await rig.fail(options.framesTopic, () => 'too bright', 'annotate');
    const lines = (await program('failed', 'list')).stdout.trim().split('\n');
    expect(lines.map((line) => line.split('  ').at(-1))).toEqual([
      'too dark',
      'too dark',
      'too bright',
      'too bright',
    ]);
  });

  /** As a stage does once it has finished what is before `offset`; the admin's `setOffsets` takes five seconds. */
  async function commit(groupId: string, topic: string, offset: string): Promise<void> {
    const consumer = rig.kafka.consumer({ groupId, maxWaitTimeInMs: 100 });
    // Nothing is fetched: beyond the end of a topic there is nothing.
    consumer.on(consumer.events.GROUP_JOIN, () => consumer.pause([{ topic }]));
    const begun = new Promise((resolve) => consumer.on(consumer.events.FETCH_START, resolve));
    await consumer.subscribe({ topic });
    await consumer.run({ autoCommit: false, eachMessage: async () => {} });
    await begun;
    await consumer.commitOffsets([0, 1].map((partition) => ({ topic, partition, offset })));
    await consumer.disconnect();
  }

  test('the audit distinguishes frames in flight from lost frames', async () => {
    const { framesTopic, detectionsTopic } = options;
    const group = unique('group');
    env.KAFKA_GROUP_ID = group;
    await commit(group, framesTopic, '0');
    const waiting = await program('audit');
    expect(waiting.stdout).toContain('2 frames in Kafka: 0 annotated, 0 in failed/, 2 on their way, 0 lost');
    expect(waiting.code).toBe(0);
    // Detect has finished them, annotate has not.
    await commit(group, framesTopic, '10');
    await commit(`${group}-annotate`, detectionsTopic, '0');
    expect((await program('audit')).stdout).toContain('2 on their way, 0 lost');
    await commit(`${group}-annotate`, detectionsTopic, '10');
    const lost = await program('audit');
    expect(lost.stdout).toContain('0 on their way, 2 lost');
    expect(lost.code).toBe(1);
  });

  test('audit names missing frames and wrong pictures, and exits with 1 until there are none', async () => {
    const [one, two] = [await spotFrame(1), await spotFrame(2)];
    await rig.storeFrames(options.s3Prefix, [one], () => two.jpeg);
    const lost = await command('audit', '--pixels');
    expect(lost.code).toBe(1);
    expect(lost.stdout).toContain('1 missing: yard/s1/2');
    expect(lost.stdout).toContain('1 wrongPixels: yard/s1/1');
    expect(lost.stdout).toContain('NOT every frame is accounted for');
    const { code, stdout } = await program('audit', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ published: 2, annotated: 1, missing: ['yard/s1/2'] });

    await rig.storeFrames(options.s3Prefix, [one, two]);
    const whole = await program('audit', '--pixels', '--json');
    expect(whole.code).toBe(0);
    expect(JSON.parse(whole.stdout)).toMatchObject({ annotated: 2, failed: 0, missing: [], wrongPixels: [] });
  });

  test('audit names foreign objects in the bucket, checks all others, and exits with 1', async () => {
    const [one, two] = [await spotFrame(1), await spotFrame(2)];
    await rig.storeFrames(options.s3Prefix, [one, two]);
    const tar = `${annotatedKey(options.s3Prefix, one).replace('.jpg', '')}-mine.tar`.replace(
      `${one.capturedAt}-1-`,
      `${one.capturedAt}-${two.capturedAt}-`,
    );
    await rig.store.put({ key: tar, body: 'no TAR', contentType: '' });
    const foreign = await program('audit', '--pixels');
    expect(foreign.stdout).toContain('2 frames in Kafka: 2 annotated');
    expect(foreign.stdout).toContain(`1 unreadable: ${tar}`);
    expect(foreign.stdout).toContain('every frame is accounted for, but not every object could be read');
    expect(foreign.code).toBe(1);
    // A frame that is not stored is looked for among the detections, too, and behind the foreign archive.
    await options.bucket.remove([annotatedKey(options.s3Prefix, two)]);
    const ndjson = `${detectionsFolder(two)}detections-0-0.ndjson`;
    await rig.store.put({ key: ndjson, body: 'null\njunk', contentType: '' });
    const { code, stdout } = await program('audit', '--json');
    const unreadable = [tar, ndjson];
    expect(JSON.parse(stdout)).toMatchObject({ annotated: 1, missing: ['yard/s1/2'], unreadable });
    expect(code).toBe(1);
  });

  describe('npm run failed', () => {
    beforeEach(() =>
      rig.fail(options.framesTopic, (number) => (number === '1' ? 'was too dark' : 'was too bright')),
    );
    const inFailed = () => Array.fromAsync(options.bucket.list('failed/'));
    const listed = async (...args: string[]) => {
      // Where `--stage` names a folder, npm's command says so to the program.
      const list = args.includes('--stage') ? command : program;
      const { code, stdout } = await list('failed', 'list', '--json', ...args);
      expect(code).toBe(0);
      return stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line).reason);
    };

    test('list filters by stage, stream, reason and time', async () => {
      const [dark, bright] = ['was too dark', 'was too bright'];
      const expected: [string[], string[]][] = [
        [[], [bright, dark]],
        [['--by', 'detect', '--reason', 'dark'], [dark]],
        [['--stage', 'detect', '--reason', 'dark'], [dark]],
        [['--stage', 'annotate'], []],
        [
          ['--stream', 'yard', '--from', '2026-01-01'],
          [bright, dark],
        ],
        [['--stream', 'gate'], []],
        [['--to', '2026-01-01'], []],
      ];
      await Promise.all(
        expected.map(async ([args, reasons]) =>
          expect((await listed(...args)).sort(), `${args}`).toEqual(reasons),
        ),
      );
      const { stdout } = await program('failed', 'list', '--reason', 'dark');
      expect(stdout.trim()).toMatch(/^\S+Z {2}failed\/detect\/\S+ {2}yard {2}- {2}was too dark$/);
    });

    test('list escapes control characters of a terminal, and prints one line for each entry', async () => {
      await rig.fail(options.framesTopic, () => 'quoted: \x1b[2J\nnext \x9b2J', 'annotate');
      const { stdout } = await program('failed', 'list', '--by', 'annotate');
      expect(stdout.trim().split('\n')).toEqual(
        Array(2).fill(expect.stringMatching(/ {2}quoted: %1B\[2J%0Anext %C2%9B2J$/)),
      );
      await rig.store.put({ key: 'failed/annotate/junk', body: '\x1b[2J', contentType: '' });
      const { stderr } = await program('failed', 'list', '--by', 'annotate');
      expect(stderr).toMatch(/^failed\/annotate\/junk is not a failed record: .*%1B\[2J.*\n$/);
    });

    test('--help names each stage that puts records into failed/', async () => {
      const helps = ['list', 'redrive', 'purge'].map((one) => program('failed', one, '--help'));
      for (const { stdout } of await Promise.all(helps))
        expect(stdout.replaceAll(/\s+/g, ' ')).toContain(
          '"detect", "annotate", "notify", "clip", "event-source"',
        );
    });

    test('show prints a record completely', async () => {
      const [key = ''] = await inFailed();
      const { code, stdout } = await program('failed', 'show', key);
      expect(code).toBe(0);
      const shown = JSON.parse(stdout);
      expect(shown).toMatchObject({ key, stage: 'detect', record: { topic: options.framesTopic } });
      expect(Buffer.from(shown.record.value, 'base64').subarray(0, 2)).toEqual(Buffer.of(0xff, 0xd8));
    });

    test('redrive and purge print what they would do, and do it with --yes', async () => {
      const dry = await program('failed', 'redrive', '--stream', 'yard');
      expect(dry).toMatchObject({ code: 0, stderr: '2 would be put back; add --yes to do it\n' });
      expect((await program('failed', 'purge')).stderr).toBe('2 would be deleted; add --yes to do it\n');
      expect(await inFailed()).toHaveLength(2);

      const purged = await program('failed', 'purge', '--reason', 'bright', '--yes', '--json');
      expect(purged).toMatchObject({ code: 0, stderr: '1 deleted\n' });
      expect(JSON.parse(purged.stdout)).toEqual({
        key: expect.stringContaining('failed/detect/'),
        done: true,
      });
      expect((await program('audit')).stdout).toContain('1 missing: yard/s1/2');
      expect(await program('failed', 'redrive', '--yes')).toMatchObject({ code: 0, stderr: '1 put back\n' });
      expect(await inFailed()).toEqual([]);
      // It is on its topic again: three records.
      expect(JSON.parse((await program('audit', '--json')).stdout)).toMatchObject({
        published: 3,
        failed: 0,
      });
    });
  });

  test('redrive names entries that can not be redriven, and redrives all others', async () => {
    const topics = [unique('away-a'), options.framesTopic, unique('away-b')];
    // Another pipeline's.
    await withAdmin(rig.kafka, (admin) => ensureTopics(admin, [{ topic: String(topics[0]), partitions: 1 }]));
    for (const [offset, topic] of topics.entries()) {
      const place = { topic, partition: 0, offset: String(offset), timestamp: 1 };
      const record = toLambdaRecord(place, { key: 'yard', value: Buffer.from('x'), headers: {} });
      await createPutFailed(rig.store, 'detect')(record, 'was too dark');
    }
    const redriven = async (summary: string, ...args: string[]) => {
      const { code, stderr } = await program('failed', 'redrive', ...args);
      expect({ code, lines: stderr.trim().split('\n').sort() }).toEqual({
        code: 1,
        lines: [summary, ...refused],
      });
    };
    const refused = [topics[0], topics[2]].map((topic, index) =>
      expect.stringContaining(`${topic}-0-${2 * index} came from ${topic}, which is not a topic`),
    );
    await redriven('1 would be put back, 2 refused; add --yes to do it');
    expect(await Array.fromAsync(options.bucket.list('failed/'))).toHaveLength(3);
    await redriven('1 put back, 2 refused', '--yes');
    expect(await Array.fromAsync(options.bucket.list('failed/'))).toHaveLength(2);
  });

  test('purge of one stream keeps a batch with records of other streams, and names the batch also without --yes', async () => {
    const [yard, gate] = ['yard', 'gate'].map((id, offset) =>
      toLambdaRecord(
        { topic: options.framesTopic, partition: 0, offset: String(offset), timestamp: 1 },
        { key: id, value: Buffer.from('x'), headers: { stream_id: Buffer.from(id) } },
      ),
    ) as [MSKRecord, MSKRecord];
    const event = { ...mskEvent('x', []), records: { [`${options.framesTopic}-0`]: [yard, gate] } };
    const batch = { records: [yard, gate] } as unknown as Batch;
    const failed = { event, batch, condition: 'RetryAttemptsExhausted', invocations: 11 } as const;
    await toS3Destination(rig.store, LOST_BATCHES)({ ...failed, functionName: 'functions/src/detect.ts' });
    const purged = (...args: string[]) => program('failed', 'purge', ...args);
    const told = expect.stringContaining('also holds records of other streams');
    expect(await purged('--stream', 'yard')).toMatchObject({ code: 1, stdout: '', stderr: told });
    expect(await purged('--stream', 'yard', '--yes')).toMatchObject({ code: 1, stdout: '', stderr: told });
    expect(await purged()).toMatchObject({ code: 0, stderr: '1 would be deleted; add --yes to do it\n' });
    expect(await purged('--yes')).toMatchObject({ code: 0, stderr: '1 deleted\n' });
  });

  test('replay detects in the frames of a time range again, and stores them in a folder of its own', async () => {
    const seen = { class_id: 1, class_name: 'cat', confidence: 0.9, bbox: [10, 10, 60, 60] };
    const result = JSON.stringify({ width: 320, height: 240, detections: [seen] });
    const model = await startFakeServer(() => ({
      body: {
        model: 'other',
        model_name: 'other',
        outputs: [{ name: 'detections', datatype: 'BYTES', shape: [1], data: [result] }],
      },
    }));
    onTestFinished(async () => void (await model.close()));
    env.INFERENCE_SERVICE_URL = model.url;
    const two = await spotFrame(2);
    const range = [
      '--from',
      new Date(two.capturedAt).toISOString(),
      '--to',
      new Date(two.capturedAt + 1).toISOString(),
    ];
    const { code, stdout } = await command('replay', ...range, '--folder', 'again', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ frames: 1, failed: 0, where: `s3://${BUCKET}/again/` });
    const keys = await Array.fromAsync(options.bucket.list(''));
    expect(keys).toContain(`again/${annotatedKey(options.s3Prefix, two)}`);
    expect(keys.every((key) => key.startsWith('again/'))).toBe(true);
    const [ndjson = ''] = keys.filter((key) => key.endsWith('.ndjson'));
    expect(JSON.parse(String(await options.bucket.read(ndjson)))).toMatchObject({
      frame_number: 2,
      model: 'other',
      detections: [seen],
    });
    expect(model.calls.map(({ path }) => path)).toEqual(['/health', '/v2/models/other/infer']);

    expect((await program('replay', ...range, '--stream', 'gate', '--json')).stdout).toContain('"frames":0');
  });
});
