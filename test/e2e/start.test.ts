import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { glob, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { runningState } from '../../packages/cli/src/running.ts';
import { type KafkaServer, startKafka } from '../../packages/local/src/servers/kafka.ts';
import { type S3Server, startS3Proxy } from '../../packages/local/src/servers/s3proxy.ts';
import { freePort, signalProcess } from '../../packages/local/src/supervisor/processes.ts';
import { unique } from '../support/unique.ts';
import { evenTimes, makeVideo } from '../support/video.ts';
import { pidsOf, startStackProcess } from './stack-process.ts';

const MAIN = join(import.meta.dirname, '../../packages/local/src/main.ts');
const QUICK = { BATCH_TIMEOUT_SECONDS: '1' };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'start-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function start(args: string[], env: NodeJS.ProcessEnv = {}) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const all = [MAIN, '--data-dir', join(folder, 'errors'), ...args];
    const child = execFile(process.execPath, all, { env: { ...process.env, ...env } }, (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

describe('npm start', () => {
  it('names its options', async () => {
    const { code, stdout } = await start(['--help']);
    expect(code).toBe(0);
    for (const option of [
      '--source',
      '--frames',
      '--json',
      '--model',
      '--frame-rate',
      '--ports',
      '--no-console',
      '--open',
      '--data-dir',
    ]) {
      expect(stdout).toContain(option);
    }
  });

  it.each([
    [['--frames', '0'], 'must be a whole number from 1 on'],
    [['--frame-rate', 'x'], 'must be over 0'],
    [['--source', 'none.mp4'], '--source none.mp4: there is no file'],
    [['--model', 'none.onnx'], '--model: there is no file'],
    [['--ports', 'some'], 'Allowed choices are default, auto'],
    [['--data-dir', '/proc/none'], "/proc/none/run can't be written"],
  ])('refuses %j in one line', async (args, message) => {
    const { code, stdout, stderr } = await start(args);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain(message);
  });

  it.each([
    ['- {id: "S\u00fcd", url: a.mp4}', "line 1: 'id' must be letters"],
    ['streams: []', 'must be a list of streams'],
    ['- {id: yard, url: a.mp4, scene: {zones: {a: {}}}}', "line 1: 'scene.zones.a.polygon'"],
  ])('refuses a STREAMS_FILE of %j in one line, before anything starts', async (list, message) => {
    const file = join(folder, 'wrong.yaml');
    await writeFile(file, list);
    const { code, stderr } = await start([], { STREAMS_FILE: file });
    expect(code).toBe(1);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain(`${file}: ${message}`);
  });

  it('names a server of the user that does not answer', async () => {
    const nobody = `127.0.0.1:${await freePort()}`;
    const { code, stderr } = await start([], { KAFKA_BOOTSTRAP_SERVERS: nobody });
    expect(code).toBe(1);
    expect(stderr).toContain(
      `nothing answers at KAFKA_BOOTSTRAP_SERVERS=${nobody}: start it, or unset KAFKA_BOOTSTRAP_SERVERS`,
    );
  });
});

describe('npm start with the Kafka and the S3 API that the user runs', () => {
  let kafka: KafkaServer;
  let s3: S3Server;
  beforeAll(async () => {
    const dataDir = join(folder, 'own');
    [kafka, s3] = await Promise.all([startKafka({ dataDir }), startS3Proxy({ dataDir })]);
  });
  afterAll(async () => {
    await Promise.all([kafka.stop(), s3.stop()]);
  });

  it.each([
    ['HEALTH_PORT', "the ingest host's health"],
    ['CONSOLE_PORT', 'the console'],
  ])('names %s when it is taken, what for, and the remedy', async (variable, name) => {
    const taken: Server = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const { code, stderr } = await start(['--source', MAIN], {
      KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap,
      AWS_ENDPOINT_URL: s3.url,
      ...s3.credentials,
      PORT: '0',
      HEALTH_PORT: '0',
      CONSOLE_PORT: '0',
      [variable]: String(port),
    });
    taken.close();
    expect(code).toBe(1);
    const line = new RegExp(
      `^port ${port}, meant for ${name}, is taken: set ${variable} to another.*, or start with --ports auto$`,
      'm',
    );
    expect(stderr).toMatch(line);
  });

  it('plays what STREAMS_FILE lists in the place of the demo, and what is added to it while it runs', async () => {
    const video = await makeVideo(join(folder, 'listed.mp4'), { times: evenTimes(75, 25) });
    const STREAMS_FILE = join(folder, 'my.yaml');
    const line = (id: string) => `- {id: ${id}, url: ${JSON.stringify(`${video}?loop`)}}\n`;
    await writeFile(STREAMS_FILE, line('first'));
    const stack = startStackProcess(join(folder, unique('listed')), ['--frame-rate', '2', '--no-console'], {
      ...QUICK,
      STREAMS_FILE,
      KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap,
      AWS_ENDPOINT_URL: s3.url,
      ...s3.credentials,
      PORT: '0',
    });
    onTestFinished(stack.stop);
    const { services } = await stack.until(
      ({ streams }) => (streams.first?.annotated ?? 0) > 0,
      'a frame',
      120_000,
    );
    expect(services).not.toHaveProperty('cameras');
    await writeFile(STREAMS_FILE, line('first') + line('second'));
    const { streams } = await stack.until(({ streams }) => (streams.second?.annotated ?? 0) > 0, 'the other');
    expect(Object.keys(streams).sort()).toEqual(['first', 'second']);
    stack.child.kill('SIGINT');
    expect((await stack.exited).code).toBe(0);
  });

  it('plays a file once and ends when all of it is annotated', async () => {
    const name = unique('short clip');
    const id = name.replace(' ', '-');
    const video = await makeVideo(join(folder, `${name}.mp4`), { times: evenTimes(75, 25) });
    const stack = startStackProcess(join(folder, id), ['--source', video, '--json', '--no-console'], {
      ...QUICK,
      KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap,
      AWS_ENDPOINT_URL: s3.url,
      ...s3.credentials,
    });
    onTestFinished(stack.stop);
    const { code } = await stack.exited;
    expect(code, stack.output.stderr).toBe(0);
    const summary = JSON.parse(stack.output.stdout);
    // Three seconds at ten frames a second.
    expect(summary.frames[id]).toMatchObject({
      captured: 30,
      dropped: 0,
      annotated: 30,
      failed: 0,
    });
    expect(Object.keys(summary.processes).sort()).toEqual([
      'annotate',
      'detect',
      'ingest',
      'model',
      'supervisor',
    ]);
    expect(summary.output).toBe(`${s3.url}/video-pipeline-output/annotated`);
    const stored = await Array.fromAsync(glob(join(s3.folder, `*/annotated/${id}/**/*.jpg`)));
    expect(stored).toHaveLength(30);
  });

  it('ends when npm is killed', async () => {
    const dataDir = join(folder, unique('npm'));
    const args = ['start', '--', '--ports', 'auto', '--no-ingest', '--no-console', '--data-dir', dataDir];
    const servers = { KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap, AWS_ENDPOINT_URL: s3.url, ...s3.credentials };
    const npm = spawn('npm', args, {
      cwd: join(import.meta.dirname, '../..'),
      env: { ...process.env, ...servers },
      stdio: 'ignore',
    });
    onTestFinished(() => void npm.kill('SIGKILL'));
    const up = async () => {
      const state = await runningState(dataDir);
      return state ?? Promise.reject(new Error('never came up'));
    };
    const pids = pidsOf(await vi.waitFor(up, { timeout: 60_000, interval: 100 }));
    npm.kill('SIGKILL');
    const left = () => pids.filter((pid) => signalProcess(pid, 0));
    await expect.poll(left, { timeout: 15_000, interval: 100 }).toEqual([]);
  });
});

describe('a running npm start', () => {
  it('lets no second one use its folder, and stops within 5 s', async () => {
    const dataDir = join(folder, unique('running'));
    const stack = startStackProcess(dataDir, ['--frame-rate', '2'], QUICK);
    onTestFinished(stack.stop);
    const flowing = await stack.until(
      ({ streams }) => Object.values(streams).some(({ annotated }) => annotated > 0),
      'an annotated frame',
    );
    const second = await start(['--data-dir', dataDir]);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain(`process ${stack.child.pid} already runs on`);

    const began = Date.now();
    stack.child.kill('SIGINT');
    const { code } = await stack.exited;
    expect(Date.now() - began).toBeLessThan(5_000);
    expect(code, stack.output.stderr).toBe(0);
    expect(pidsOf(flowing).filter((pid) => signalProcess(pid, 0))).toEqual([]);
    expect(stack.output.stdout).toContain('annotated frames: ');
  });
});
