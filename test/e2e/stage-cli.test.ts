import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@video-pipeline/local';
import { createStore, packArchive, packSegment, type Store } from '@video-pipeline/storage';
import { type FauxqsServer, startFauxqs } from 'fauxqs';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { encodeSegment } from '../../functions/src/clip-encoder.ts';
import { CommandHost } from '../support/command-host.ts';
import { startFakeServer } from '../support/fake-server.ts';

const MAIN = join(import.meta.dirname, '../../packages/cli/src/main.ts');
const BUCKET = 'frames-of-production';
const KEY = 'annotated/yard/date=2026-11-25/hour=07/1795590000900-9.jpg';

// In the place of AWS: an S3 API where the SDK's own variable sends it, an inference server, and the file that
// `sst deploy` writes. Kafka is beyond the tunnel, which is not up.
describe('npm run local -- --stage production', () => {
  let folder: string;
  let outputs: string;
  const commands = new CommandHost();
  let s3: FauxqsServer;
  let store: Store;
  let kafka: string;
  let inference: Awaited<ReturnType<typeof startFakeServer>>;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stage-'));
    outputs = join(folder, 'outputs.json');
    s3 = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
    s3.createBucket(BUCKET);
    kafka = `127.0.0.1:${await freePort()}`;
    inference = await startFakeServer(() => ({ body: { status: 'healthy' } }));
    Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' });
    const AWS_ENDPOINT_URL = `http://127.0.0.1:${s3.port}`;
    store = createStore({ S3_BUCKET: BUCKET, AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL });
    await store.put({ key: KEY, body: 'a picture', contentType: 'image/jpeg' });
    await deployed({});
  });
  afterAll(async () => {
    await Promise.all([commands.stop(), s3?.stop(), inference?.close()]);
    await rm(folder, { recursive: true, force: true });
  });

  const deployed = (changes: object) =>
    writeFile(
      outputs,
      JSON.stringify({ stage: 'production', bucket: BUCKET, kafka, inference: inference.url, ...changes }),
    );

  const local = (...args: string[]) => localWith({}, ...args);
  function localWith(more: NodeJS.ProcessEnv, ...args: string[]) {
    const env = {
      AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${s3.port}`,
      // What is for this machine gives way to the stage.
      AWS_ENDPOINT_URL: 'http://127.0.0.1:1',
      S3_BUCKET: 'of-this-machine',
      ...more,
    };
    return commands.run(MAIN, args, env);
  }

  it('s3-list and s3-download use the bucket of the stage', async () => {
    const list = await local('s3-list', '--stage', outputs, '--json');
    expect(list.code).toBe(0);
    expect(JSON.parse(list.stdout)).toMatchObject({
      bucket: BUCKET,
      count: 1,
      objects: [{ key: KEY, bytes: 9 }],
    });
    const { stdout } = await local('s3-download', '--stage', outputs, '--to', folder, '--json');
    expect(JSON.parse(stdout)).toEqual({ files: [join(folder, KEY)] });
    expect((await stat(join(folder, KEY))).size).toBe(9);
  });

  it('s3-download extracts the newest picture from an archive, or all pictures', async () => {
    const frame = (i: number) => ({
      frame: { streamId: 'yard', frameNumber: i, session: 's', capturedAt: 1795590001000 + i },
      jpeg: Buffer.from(`picture ${i}`),
      line: '{}',
    });
    const { body } = packArchive([frame(0), frame(1)]);
    const key = 'annotated/yard/date=2026-11-25/hour=07/1795590001000-1795590001001-detections-0-0.tar';
    await store.put({ key, body, contentType: 'application/x-tar' });
    const files = [0, 1].map((i) => join(folder, KEY, '..', `${1795590001000 + i}-${i}.jpg`));
    const download = async (...args: string[]) =>
      JSON.parse((await local('s3-download', '--stage', outputs, '--to', folder, '--json', ...args)).stdout);
    const all = (await download('--all')).files;
    expect(all.toSorted()).toEqual([join(folder, KEY), ...files]);
    expect(await readFile(files[1] ?? '', 'utf8')).toBe('picture 1');
  });

  it('s3-download extracts the newest picture from a video, or all pictures', async () => {
    const body = await sharp({ create: { width: 64, height: 48, channels: 3, background: 'grey' } })
      .jpeg()
      .toBuffer();
    const at = 1795590002000;
    const mp4 = await encodeSegment([0, 1].map((i) => ({ capturedAt: at + i, jpeg: body })));
    const segment = packSegment(mp4, {
      width: 64,
      height: 48,
      frames: [
        [at, 0],
        [at + 1, 1],
      ],
    });
    const hour = 'annotated/film/date=2026-11-25/hour=07';
    const key = `${hour}/${at}-${at + 1}-detections-0-0-1.mp4`;
    await store.put({ key, body: segment, contentType: 'video/mp4' });
    const args = ['--stage', outputs, '--to', folder, '--prefix', 'annotated/film/', '--json'];
    const newest = JSON.parse((await local('s3-download', ...args)).stdout).files;
    expect(newest).toEqual([join(folder, hour, `${at + 1}-1.jpg`)]);
    expect(await sharp(newest[0]).metadata()).toMatchObject({ format: 'jpeg', width: 64, height: 48 });
    expect(JSON.parse((await local('s3-download', ...args, '--all')).stdout).files).toHaveLength(2);
  });

  it('status reports which servers respond, and a remedy when Kafka does not', async () => {
    const { code, stdout } = await local('status', '--stage', outputs);
    expect(code).toBe(1);
    expect(stdout).toMatch(/s3 +answers +frames-of-production/);
    expect(stdout).toMatch(/inference +answers/);
    expect(stdout).toMatch(/kafka +not reachable from here/);
    expect(stdout).toContain("is 'npx sst tunnel --stage production' running?");
    // Whether it reads is in Kafka.
    expect(stdout).toMatch(/detect +not known/);
    expect(stdout).not.toContain('UNHEALTHY');
  });

  it('status uses the model server of INFERENCE_SERVICE_URL, such as a port forwarded from the VPC', async () => {
    await deployed({ inference: `http://127.0.0.1:${await freePort()}` });
    const away = await local('status', '--stage', outputs);
    expect(away.stdout).toMatch(/inference +not reachable from here/);
    expect(away.stdout).toContain('INFERENCE_SERVICE_URL');
    // It can be reached, and says itself that it is broken.
    const broken = await startFakeServer(() => ({ status: 503 }));
    onTestFinished(() => void broken.close());
    const forwarded = { INFERENCE_SERVICE_URL: broken.url };
    const { code, stdout } = await localWith(forwarded, 'status', '--stage', outputs, '--json');
    await deployed({});
    const { healthy, services } = JSON.parse(stdout);
    expect([code, healthy]).toEqual([1, false]);
    expect(services).toMatchObject({
      s3: { healthy: true, state: 'answers' },
      inference: { healthy: false, state: 'UNHEALTHY', error: 'it answers with 503' },
      kafka: { healthy: null, state: 'not reachable from here' },
      detect: { healthy: null, state: 'not known' },
    });
  });

  it('test-inference calls the SageMaker endpoint of a stage by its name', async () => {
    const data = [JSON.stringify({ width: 64, height: 48, detections: [] })];
    const sagemaker = await startFakeServer(() => ({
      body: { model_name: 'm', outputs: [{ name: 'detections', data }] },
    }));
    onTestFinished(() => void sagemaker.close());
    await deployed({ inference: 'mine', endpoint: sagemaker.url });
    const picture = join(folder, 'grey.jpg');
    await sharp({ create: { width: 64, height: 48, channels: 3, background: 'grey' } }).toFile(picture);
    const args = ['--picture', picture, '--output', join(folder, 'seen.jpg'), '--json'];
    const { code, stdout, stderr } = await local('test-inference', '--stage', outputs, ...args);
    await deployed({});
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({ model: 'm', detections: [] });
    expect(sagemaker.calls.map(({ path }) => path)).toEqual(['/endpoints/mine/invocations']);
  });

  it('kafka-stats reports that Kafka does not respond, with the remedy', async () => {
    const { code, stderr } = await local('kafka-stats', '--stage', outputs);
    expect(code).toBe(1);
    expect(stderr).toContain(
      `Kafka at ${kafka} (is 'npx sst tunnel --stage production' running?) does not answer`,
    );
  });

  it('a missing bucket, and a stage that was not deployed from this machine, are errors with the remedy', async () => {
    await deployed({ bucket: 'gone' });
    const gone = await local('s3-list', '--stage', outputs);
    await deployed({});
    expect(gone).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the bucket gone does not answer: '),
    });
    const nowhere = await local('s3-list', '--stage', 'nowhere');
    expect(nowhere.code).toBe(1);
    expect(nowhere.stderr).toContain(
      "does not name stage 'nowhere': deploy it with 'npm run deploy -- --stage nowhere",
    );
  });
});
