import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { DetectedFrame } from '@video-pipeline/frame';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { BUCKET, type RecoveryRig, spotFrame, startRecoveryRig } from '../e2e/recovery-rig.ts';
import { startFakeServer } from '../support/fake-server.ts';
import { evenTimes, makeVideo } from '../support/video.ts';
import { startMoto } from './moto.ts';
import { hasPython } from './python.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const SEES_NOTHING = JSON.stringify({ width: 320, height: 240, detections: [] });
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
// moto is S3, a real Kafka without IAM is MSK, and the inference server only answers. `outputs.json` says so by hand, as
// docs/operate.md tells.
describe.skipIf(!(await hasPython()))('commands of a stage with a stand-in endpoint for AWS', () => {
  let moto: Awaited<ReturnType<typeof startMoto>>;
  let rig: RecoveryRig;
  let inference: Awaited<ReturnType<typeof startFakeServer>>;
  let folder: string;
  let stage: string[];
  let env: NodeJS.ProcessEnv;
  let frames: DetectedFrame[];
  beforeAll(async () => {
    [moto, folder] = await Promise.all([startMoto(), mkdtemp(join(tmpdir(), 'stage-commands-'))]);
    await moto.call([['s3', 'CreateBucket', { Bucket: BUCKET }]]);
    rig = await startRecoveryRig(moto.url);
    inference = await startFakeServer(({ path }) =>
      path.endsWith('/infer')
        ? { body: { model_name: 'm', outputs: [{ name: 'detections', data: [SEES_NOTHING] }] } }
        : { body: { status: 'healthy', model: 'm' } },
    );
    const outputs = join(folder, 'outputs.json');
    const deployed = {
      stage: 'production',
      bucket: BUCKET,
      kafka: inject('kafka'),
      inference: inference.url,
    };
    writeFileSync(outputs, JSON.stringify({ ...deployed, endpoint: moto.url, kafkaAuth: 'none' }));
    stage = ['--stage', outputs];
    frames = [await spotFrame(1), await spotFrame(2)];
    const { framesTopic, detectionsTopic, s3Prefix } = await rig.publish(frames);
    env = {
      ...process.env,
      KAFKA_TOPIC: framesTopic,
      KAFKA_DETECTIONS_TOPIC: detectionsTopic,
      S3_PREFIX: s3Prefix,
      NODE_OPTIONS: '',
      // What is of this machine gives way.
      AWS_ENDPOINT_URL: 'http://127.0.0.1:1',
      KAFKA_AUTH: 'tls',
    };
    await rig.storeFrames(s3Prefix, frames);
    await rig.fail(framesTopic, () => 'too dark');
    const line = { stream_id: 'yard', frame_number: 1, session: 's1', captured_at: frames[0]?.capturedAt };
    const seen = { width: 320, height: 240, model: 'm', annotated_key: `${s3Prefix}/yard/x.jpg` };
    const person = { class_id: 0, class_name: 'person', confidence: 0.9, bbox: [1, 2, 30, 40] };
    const day = new Date(Number(frames[0]?.capturedAt)).toISOString();
    await rig.store.put({
      key: `detections/yard/date=${day.slice(0, 10)}/hour=${day.slice(11, 13)}/detections-0-0.ndjson`,
      body: `${JSON.stringify({ ...line, ...seen, detections: [person] })}\n`,
      contentType: 'application/x-ndjson',
    });
    const list = JSON.stringify([{ id: 'gate' }, { id: 'yard', scene: { zones: {} } }]);
    await rig.store.put({ key: 'config/streams.json', body: list, contentType: 'application/json' });
  }, 1_800_000);
  afterAll(async () => {
    await Promise.all([moto?.stop(), rig?.stop(), inference?.close()]);
    await rm(folder, { recursive: true, force: true });
  });

  /** Arguments of Node for what `npm run <name>` runs. */
  const argumentsOf = (name: string, args: string[]) => [
    ...scripts[name].split(' ').slice(2),
    ...args,
    ...stage,
  ];
  function command(
    name: string,
    ...args: string[]
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    return new Promise((done) => {
      const options = { cwd: ROOT, env, timeout: 120_000 };
      const child = execFile(process.execPath, argumentsOf(name, args), options, (_, stdout, stderr) =>
        done({ code: child.exitCode ?? -1, stdout, stderr }),
      );
    });
  }
  const local = (...args: string[]) => command('local', ...args);
  const from = () => ['--from', new Date(Number(frames[0]?.capturedAt) - 1_000).toISOString()];
  const to = () => ['--to', new Date(Number(frames[0]?.capturedAt) + 60_000).toISOString()];

  test('status reports S3, Kafka and the inference server', async () => {
    const { stdout, stderr } = await local('status', '--json');
    const { services } = JSON.parse(stdout || stderr);
    expect(services).toMatchObject({
      s3: { healthy: true, at: BUCKET },
      kafka: { healthy: true, at: inject('kafka') },
      inference: { healthy: true },
    });
  });

  test('s3-list lists pictures, and s3-download copies the newest', async () => {
    const list = await local('s3-list', '--json');
    expect(list.stderr).toBe('');
    expect(JSON.parse(list.stdout)).toMatchObject({ bucket: BUCKET, count: 2 });
    const { files } = JSON.parse((await local('s3-download', '--to', folder, '--json')).stdout);
    expect((await stat(files[0])).size).toBe(frames[1]?.jpeg.length);
  });

  test('kafka-stats prints the topics with their end offsets', async () => {
    const { stdout, stderr } = await local('kafka-stats', '--json');
    expect(stderr).toBe('');
    const { topics } = JSON.parse(stdout);
    expect(topics.map(({ topic, end }: any) => [topic, end])).toContainEqual([env.KAFKA_TOPIC, 2]);
  });

  test('logs passes the endpoint to the AWS CLI', async () => {
    const aws = join(folder, 'aws');
    writeFileSync(aws, '#!/bin/sh\necho "$AWS_ENDPOINT_URL $*"\n');
    chmodSync(aws, 0o755);
    env.PATH = `${folder}:${env.PATH}`;
    const { stdout } = await local('logs', 'detect');
    expect(stdout).toBe(`${moto.url} logs tail /video-pipeline/production/detect --format short\n`);
  });

  test('test-inference detects and draws in a picture', async () => {
    const picture = join(folder, 'own.jpg');
    writeFileSync(picture, frames[0]?.jpeg as Buffer);
    const output = join(folder, 'seen.jpg');
    const { code, stderr } = await local(
      'test-inference',
      '--picture',
      picture,
      '--output',
      output,
      '--json',
    );
    expect([code, stderr]).toEqual([0, '']);
    expect((await stat(output)).size).toBeGreaterThan(0);
  });

  test('audit, failed, replay, search and cameras print their results', async () => {
    const audit = await command('audit', '--json');
    expect(JSON.parse(audit.stdout || audit.stderr)).toMatchObject({ published: 2, missing: [] });
    expect((await command('failed', 'list', '--json')).stdout.match(/too dark/g)).toHaveLength(2);
    const redriven = await command('failed', 'redrive', '--yes');
    expect(redriven.code, redriven.stderr).toBe(0);
    expect((await command('failed', 'list', '--json')).stdout).toBe('');
    const replayed = await command('replay', ...from(), ...to(), '--stream', 'nobody', '--json');
    expect(JSON.parse(replayed.stdout || replayed.stderr)).toMatchObject({ frames: 0 });
    const found = await command('search', '--class', 'person', ...from(), ...to());
    expect(JSON.parse(found.stdout || found.stderr)).toMatchObject({ stream_id: 'yard', frame_number: 1 });
    const cameras = await command('cameras', 'list', '--json');
    expect(JSON.parse(cameras.stdout || cameras.stderr).map(({ id }: any) => id)).toEqual(['gate', 'yard']);
  });

  test('producer publishes to the stage', async () => {
    const clip = await makeVideo(join(folder, 'clip.mp4'), { times: evenTimes(20, 10) });
    const { code, stderr } = await local('producer', '--source', clip, '--frames', '3');
    expect(code, stderr).toBe(0);
    const { topics } = JSON.parse((await local('kafka-stats', '--json')).stdout);
    // Two that were published, two that were put back, three of the clip.
    expect(topics.map(({ topic, end }: any) => [topic, end])).toContainEqual([env.KAFKA_TOPIC, 7]);
  });

  test('console serves the cameras of the stage', async () => {
    const child = spawn(process.execPath, argumentsOf('local', ['console', '--json']), {
      cwd: ROOT,
      env: { ...env, CONSOLE_PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    onTestFinished(async () => {
      child.kill();
      await exited;
    });
    const [line] = await once(createInterface({ input: child.stdout }), 'line');
    const ids = async () => {
      const answer = await fetch(new URL('/api/names', JSON.parse(line).url));
      return ((await answer.json()) as any).streams;
    };
    await expect.poll(ids, { timeout: 30_000 }).toEqual(['gate', 'yard']);
  });
});
