import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { PutObjectCommand, paginateListObjectsV2, type S3Client } from '@aws-sdk/client-s3';
import { connectKafka } from '@video-pipeline/kafka';
import {
  connectS3,
  ensureBucket,
  localCredentials,
  type S3Server,
  startS3Proxy,
} from '@video-pipeline/local';
import { createReader, createStore } from '@video-pipeline/storage';
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest';
import { type PythonPeer, peerPython } from '../bench/peers/python.ts';
import { hasCommand } from '../support/has-command.ts';
import { unique } from '../support/unique.ts';

const BUCKET = 'store';
const OBJECTS = 2_500;
const AWS_TOOLS: PythonPeer = { name: 'aws', packages: ['awscli==1.46.3', 'boto3==1.43.62'] };

let folder: string;
let s3: S3Server;
let client: S3Client;
/** Keys as the pipeline's: with blanks and `=`, which take two forms in addresses. */
const keys = Array.from(
  { length: OBJECTS },
  (_, n) => `annotated/cam ${n % 7}/date=2026-01-0${n % 3}/${1_790_000_000_000 + n}-${n}.jpg`,
).sort();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'störe-'));
  s3 = await startS3Proxy({ dataDir: folder });
  client = connectS3(s3.url, { ...s3.credentials });
  await ensureBucket(client, BUCKET);
  await Promise.all([...new Set(keys.map(dirname))].map((path) => mkdir(on(path), { recursive: true })));
  for (const key of keys) await writeFile(on(key), 'x');
});
afterAll(async () => {
  client?.destroy();
  await s3?.stop();
  await rm(folder, { recursive: true, force: true });
});
const on = (key: string) => join(s3.folder, BUCKET, key);

async function listed(bucket = BUCKET): Promise<string[]> {
  const found: string[] = [];
  for await (const { Contents = [] } of paginateListObjectsV2({ client }, { Bucket: bucket })) {
    found.push(...Contents.map(({ Key = '' }) => Key));
  }
  return found.sort();
}

describe('a web page in a browser', () => {
  /** A request as a browser makes it for a page: no key, no leave of a preflight. */
  async function fromPage(path: string, method: string, headers: Record<string, string>, body = '') {
    const asked = request(new URL(path, s3.url), { method, headers });
    asked.end(body);
    const [response] = await once(asked, 'response');
    response.resume();
    return response;
  }
  const form = '<Delete><Object><Key>annotated/kept</Key></Object></Delete>';

  it.each([
    ['a form', { origin: 'http://evil.example', 'content-type': 'text/plain' }],
    ['a DNS name that was rebound to this machine', { host: 'evil.example', origin: 'http://evil.example' }],
  ])('can not delete or read objects of the local store by %s', async (_, headers) => {
    onTestFinished(() => rm(on('annotated/kept'), { force: true }));
    await client.send(new PutObjectCommand({ Bucket: BUCKET, Key: 'annotated/kept', Body: 'kept' }));
    expect([400, 403]).toContain((await fromPage(`/${BUCKET}?delete`, 'POST', headers, form)).statusCode);
    expect(await readFile(on('annotated/kept'), 'utf8')).toBe('kept');
    expect((await fromPage(`/${BUCKET}`, 'GET', headers)).statusCode).toBe(403);
    expect((await fromPage(`/${BUCKET}/annotated/kept`, 'GET', headers)).statusCode).toBe(403);
  });

  it('gets no access by a preflight request, nor with well-known credentials', async () => {
    const asks = { origin: 'http://evil.example', 'access-control-request-method': 'PUT' };
    const { headers } = await fromPage(`/${BUCKET}/x`, 'OPTIONS', asks);
    expect(headers['access-control-allow-origin']).toBeUndefined();
    const known = connectS3(s3.url, { AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' });
    await expect(ensureBucket(known, 'other')).rejects.toThrow();
    known.destroy();
  });
});

it('a conditional write replaces only the version that was read', async () => {
  Object.assign(process.env, s3.credentials);
  const settings = { S3_BUCKET: BUCKET, AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: s3.url };
  const store = createStore(settings);
  const key = `over/${unique('a')}`;
  const object = (body: string) => ({ key, body, contentType: 'text/plain' });
  onTestFinished(() => store.remove([key]));
  expect(await store.putOver(object('1'), undefined)).toBe(true);
  expect(await store.putOver(object('2'), undefined)).toBe(false);
  const etag = (await createReader(settings).page(key)).objects[0]?.etag;
  expect(await store.putOver(object('3'), etag)).toBe(true);
  expect(await store.putOver(object('4'), etag)).toBe(false);
  expect(await readFile(on(key), 'utf8')).toBe('3');
});

it('credentials of the local store are created once, and only their owner may read them', async () => {
  expect(await localCredentials(folder)).toEqual(s3.credentials);
  for (const file of ['credentials', 's3proxy/s3proxy.properties']) {
    expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600);
  }
  const other = await mkdtemp(join(tmpdir(), 'credentials-'));
  const two = await Promise.all([localCredentials(other), localCredentials(other)]);
  expect(two[0]).toEqual(two[1]);
  expect(two[0]).not.toEqual(s3.credentials);
  expect(await readdir(other)).toEqual(['credentials']);
  await rm(other, { recursive: true });
});

it('a merge into an object keeps lines that other writers added', async () => {
  const settings = { S3_BUCKET: BUCKET, AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: s3.url };
  Object.assign(process.env, s3.credentials);
  const store = createStore(settings);
  const key = `merged/${unique('lines')}.ndjson`;
  onTestFinished(() => rm(on(key), { force: true }));
  const merge = (line: string) => (before: string | undefined) => `${before ?? ''}${line}\n`;
  const lines = ['a', 'b', 'c', 'd'];
  const contentType = 'application/x-ndjson';
  // One after another: S3Proxy looks at the condition, and then writes, in two steps. AWS does so in one.
  for (const line of lines) await store.merge({ key, contentType, merge: merge(line) });
  const text = String(await createReader(settings).read(key));
  expect(text.trim().split('\n').toSorted()).toEqual(lines);
});

describe(`${OBJECTS} objects in the local store`, () => {
  it('are all listed beside a foreign file, also after a copy by cp -r', async () => {
    onTestFinished(() => rm(on('annotated/.DS_Store'), { force: true }));
    await writeFile(on('annotated/.DS_Store'), 'foreign');
    // As cp does without -a, and as many an archive does: without extended attributes.
    await cp(join(s3.folder, BUCKET), join(s3.folder, 'copy'), { recursive: true });
    const expected = [...keys, 'annotated/.DS_Store'].sort();
    expect(await listed()).toEqual(expected);
    expect(await listed('copy')).toEqual(expected);
  });

  it('are all listed while objects are overwritten and added', async () => {
    let isListed = false;
    let written = 0;
    const write = async (first: number) => {
      for (let n = first; !isListed; n += 4, written++) {
        for (const Key of [keys[(n * 37) % OBJECTS] ?? '', `annotated/cam 3/added/${n}.jpg`])
          await client.send(new PutObjectCommand({ Bucket: BUCKET, Key, Body: 'x' }));
      }
    };
    const writing = Promise.all([0, 1, 2, 3].map(write));
    try {
      // One list may be quicker than ten writes.
      do {
        const found = new Set(await listed());
        expect(keys.filter((key) => !found.has(key))).toEqual([]);
      } while (written <= 10);
    } finally {
      isListed = true;
      await writing;
      await rm(on('annotated/cam 3/added'), { recursive: true, force: true });
    }
  });

  const environment = () => ({
    ...process.env,
    ...s3.credentials,
    AWS_ENDPOINT_URL: s3.url,
    AWS_REGION: 'us-east-1',
    AWS_PROFILE: undefined,
    // rclone takes no authorities from it, and the store has no TLS.
    AWS_CA_BUNDLE: undefined,
  });
  const run = (command: string, args: string[]) =>
    promisify(execFile)(command, args, { env: environment(), maxBuffer: 64e6 });

  it.skipIf(!hasCommand('python3'))(
    'are all listed by boto3, aws s3 ls and aws s3 sync (needs Python)',
    async () => {
      const python = await peerPython(AWS_TOOLS);
      const script = `import boto3, sys; s3 = boto3.client('s3')
for way in ('list_objects', 'list_objects_v2'):
    for size in (1000, 37):
        pages = s3.get_paginator(way).paginate(Bucket='${BUCKET}', Prefix='annotated/cam 1/' if size == 37 else '', PaginationConfig={'PageSize': size})
        print(sum(len(page.get('Contents', [])) for page in pages), flush=True)
# The program itself, in one process: to load it takes most of its time.
from awscli.clidriver import create_clidriver
for line in sys.argv[1:]:
    print(line, flush=True)
    assert create_clidriver().main(line.split('|')) == 0`;
      const under = (prefix: string) => keys.filter((key) => key.startsWith(prefix)).length;
      const [all, ofCamera] = [String(OBJECTS), String(under('annotated/cam 1/'))];
      const day = 'annotated/cam 1/date=2026-01-01/';
      const copy = join(folder, 'sync');
      const list = `s3|ls|--recursive|s3://${BUCKET}/`;
      const sync = `s3|sync|--only-show-errors|s3://${BUCKET}/${day}|${copy}`;
      const { stdout } = await run(python, ['-c', script, list, sync]);
      const lines = stdout.trimEnd().split('\n');
      expect(lines.slice(0, 5)).toEqual([all, ofCamera, all, ofCamera, list]);
      expect(lines.slice(5, -1)).toHaveLength(OBJECTS);
      expect(lines.at(-1)).toBe(sync);
      expect(await readdir(copy)).toHaveLength(under(day));
    },
    240_000,
  );

  it.skipIf(!hasCommand('rclone'))('are all listed by rclone (needs rclone)', async () => {
    const remote = `:s3,provider=Other,env_auth=true,region=us-east-1,endpoint='${s3.url}':${BUCKET}`;
    const { stdout } = await run('rclone', ['lsf', '--recursive', '--files-only', remote]);
    expect(stdout.trim().split('\n')).toHaveLength(OBJECTS);
  });
});

it("Kafka closes the connection of a web page's form, and creates no topic", async () => {
  const before = await topics();
  const asked = request(`http://${inject('kafka')}/`, {
    method: 'POST',
    headers: { 'content-type': 'text/plain' },
  });
  const outcome = new Promise((resolve) => {
    asked.on('response', () => resolve('answered')).on('error', () => resolve('hung up'));
  });
  asked.end('\0\0\0\x20'.repeat(1_000));
  expect(await outcome).toBe('hung up');
  expect(await topics()).toEqual(before);
});

/** Topics of the Kafka that is shared, but for those that another test may make at this moment. */
async function topics(): Promise<string[]> {
  const settings = {
    KAFKA_BOOTSTRAP_SERVERS: inject('kafka'),
    KAFKA_AUTH: 'none',
    AWS_REGION: '',
  } as const;
  const admin = connectKafka('test', console, settings).admin();
  await admin.connect();
  const names = await admin.listTopics();
  await admin.disconnect();
  return names.filter((name) => !/-[0-9a-f]{8}\b/.test(name));
}
