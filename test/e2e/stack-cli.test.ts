import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { glob, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { runningState } from '../../packages/cli/src/running.ts';
import type { State } from '../../packages/local/src/session.ts';
import { signalProcess } from '../../packages/local/src/supervisor/processes.ts';
import { CommandHost, type Outcome } from '../support/command-host.ts';

const MAIN = join(import.meta.dirname, '../../packages/cli/src/main.ts');

const commands = new CommandHost();
/** What `npm run local -- ...` says and does. */
const local = (args: readonly string[], env?: NodeJS.ProcessEnv) => commands.run(MAIN, args, env);

/** Runs `npm run local -- ...` by itself: it starts other processes. */
function alone(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, NODE_OPTIONS: '', ...env }, timeout: 100_000 };
    const child = execFile(process.execPath, [MAIN, ...args], options, (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

describe('npm run local --', () => {
  let folder: string;
  const data = () => ['--data-dir', join(folder, 'data')];
  const json = async (...args: string[]) => JSON.parse((await local([...args, ...data(), '--json'])).stdout);
  /** The state that `is` holds for, as the supervisor keeps it: to look there takes no process. */
  const until = (is: (state: State) => boolean) =>
    vi.waitFor(
      async () => {
        const state = await runningState(join(folder, 'data'));
        if (state && is(state)) return state;
        throw new Error(`not yet: ${JSON.stringify(state)}`);
      },
      { timeout: 60_000, interval: 200 },
    );

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cli-'));
  });
  afterAll(async () => {
    await local(['down', ...data()]);
    await commands.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it.each([
    'up',
    'down',
    'status',
    'logs',
    'producer',
    'test-inference',
    's3-list',
    's3-download',
    'kafka-stats',
    'console',
    'setup',
  ])('%s has --help, with the option --json', async (command) => {
    const { code, stdout } = await local([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`local -- ${command}`);
    expect(stdout).toContain('--json');
  });

  it.each(['status', 'producer', 'test-inference', 's3-list', 's3-download', 'kafka-stats', 'console'])(
    '%s without a running stack is an error with the command that starts one',
    async (command) => {
      const { code, stderr } = await local([command, ...data()]);
      expect(code).toBe(1);
      expect(stderr).toContain(
        `nothing runs on ${join(folder, 'data')}: start it with 'npm run local -- up'`,
      );
    },
  );

  it('status of an unknown stage is an error with the command that deploys it', async () => {
    const { code, stderr } = await local(['status', '--stage', 'nowhere']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/does not name stage 'nowhere': deploy it with .* sst refresh --stage nowhere'$/m);
  });

  it.each([
    ['s3-list', 'AWS_ENDPOINT_URL', 'the bucket video-pipeline-output does not answer'],
    ['test-inference', 'INFERENCE_SERVICE_URL', 'no inference server answers at'],
  ])(
    '%s: a server that does not respond is an error with its address',
    async (command, variable, message) => {
      const { code, stderr } = await local([command], { [variable]: 'http://127.0.0.1:1' });
      expect(code).toBe(1);
      expect(stderr).toContain(message);
    },
  );

  it('up with a folder that can not be written is an error with the remedy', async () => {
    const { code, stderr } = await local(['up', '--data-dir', '/proc/none']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^\/proc\/none can't be written \(.*\): choose another folder with --data-dir$/m);
  });

  const up = () =>
    alone(['up', ...data(), '--json', '--ports', 'auto', '--no-ingest'], { BATCH_TIMEOUT_SECONDS: '1' });

  it('up starts the stack in the background, and a second up starts nothing', async () => {
    const first = await up();
    expect(first.code, first.stderr).toBe(0);
    const { pid } = JSON.parse(first.stdout);
    // The compactor runs in the background: nothing waits for it.
    const { endpoints } = await until(({ services, lag }) => 'compact' in services && lag !== null);
    expect(await json('up')).toMatchObject({ pid });
    const status = await json('status');
    expect(status).toMatchObject({ healthy: true, lag: { detect: 0, annotate: 0 }, endpoints });
    expect(Object.keys(status.services).sort()).toEqual([
      'annotate',
      'cameras',
      'compact',
      'console',
      'detect',
      'kafka',
      'model',
      's3proxy',
    ]);
  });

  it('console prints the URL of the web page', async () => {
    const { url } = await json('console');
    expect((await local(['console', ...data()])).stdout).toBe(`${url}\n`);
    expect(await (await fetch(url)).text()).toContain('<title>');
    expect((await until(() => true)).endpoints.console).toBe(url);
    // Zones drawn there are kept.
    expect(await (await fetch(new URL('/api/streams/franck/scene', url))).json()).toMatchObject({
      writable: true,
    });
  });

  it('console serves the web page for external servers, until it is stopped', async () => {
    const { endpoints } = await until(() => true);
    const env = {
      ...process.env,
      KAFKA_BOOTSTRAP_SERVERS: endpoints.kafka,
      AWS_ENDPOINT_URL: endpoints.s3,
      CONSOLE_PORT: '0',
    };
    const args = [MAIN, 'console', '--json', '--data-dir', join(folder, 'none')];
    const page = spawn(process.execPath, args, { env });
    const [line] = await once(page.stdout, 'data');
    const { url } = JSON.parse(String(line));
    expect(url).not.toBe(endpoints.console);
    expect((await fetch(new URL('/health', url))).ok).toBe(true);
    page.kill();
    expect(await once(page, 'exit')).toEqual([0, null]);
  });

  it('test-inference detects the person in a demo clip, and draws a box', async () => {
    const output = join(folder, 'seen.jpg');
    const answer = await json('test-inference', '--output', output);
    expect(answer).toMatchObject({ width: 400, height: 300, annotated: output });
    expect(answer.detections.map(({ class_name }: { class_name: string }) => class_name)).toContain('person');
    expect(await sharp(output).metadata()).toMatchObject({ format: 'jpeg', width: 400, height: 300 });
  });

  it('producer publishes, logs -f follows, kafka-stats counts, s3-list and s3-download find pictures', async () => {
    const follow = ['logs', 'annotate', '--metrics', '-f', '-n', '1'];
    const follower = spawn(process.execPath, [MAIN, ...follow, ...data()]);
    onTestFinished(() => void follower.kill());
    // From the beginning: what comes while the producer runs must not be missed.
    let output = '';
    follower.stdout.on('data', (text) => (output += text));
    await expect.poll(() => output, { timeout: 20_000 }).not.toBe('');
    output = '';
    const frames = (await json('kafka-stats')).topics[0].end + 12;
    expect((await alone(['producer', '--frames', '12', ...data()])).code).toBe(0);
    const { topics } = await json('kafka-stats');
    expect(topics).toMatchObject([
      { topic: 'video-frames', end: frames, group: 'frame-consumer-group' },
      { topic: 'detections', group: 'frame-consumer-group-annotate' },
    ]);
    const pictures = join(folder, 'data/s3/video-pipeline-output/annotated/**/*.jpg');
    const stored = async () => (await Array.fromAsync(glob(pictures))).length;
    await expect.poll(stored, { timeout: 30_000, interval: 200 }).toBe(frames);
    await expect.poll(() => output, { timeout: 30_000 }).toContain('FramesAnnotated');
    follower.kill();
    await once(follower, 'exit');
    const list = await json('s3-list', '--limit', '3');
    expect(list).toMatchObject({ bucket: 'video-pipeline-output', prefix: 'annotated/', count: frames });
    expect(list.objects).toHaveLength(3);

    const newest = await json('s3-download', '--to', join(folder, 'one'));
    expect(newest.files).toEqual([join(folder, 'one', list.objects[0].key)]);
    expect((await stat(newest.files[0])).size).toBe(list.objects[0].bytes);
    expect((await json('s3-download', '--all', '--to', join(folder, 'all'))).files).toHaveLength(frames);
  });

  it('logs prints one service, or all of them', async () => {
    const one = await local(['logs', 'model', '-n', '5', ...data()]);
    // Sentences for people; what was written, metrics included, for who asks.
    expect(one.stdout).toMatch(/^\d\d:\d\d:\d\d INFO /m);
    expect(one.stdout).not.toContain('{"');
    const written = await local(['logs', 'model', '-n', '5', '--json', ...data()]);
    expect(written.stdout).toContain('\\"service\\":\\"model\\"');
    const all = await local(['logs', '--json', '-n', '1', ...data()]);
    const names = all.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).service);
    expect(new Set(names)).toContain('supervisor');
    expect((await local(['logs', 'nobody', ...data()])).stderr).toMatch(
      /no service 'nobody': there are annotate/,
    );
  });

  it('status exits with 1 while a process is not running', async () => {
    // On a slow machine it may be back before the command has asked; each time it ends, it stays away longer.
    const statusOfEnded = async () => {
      signalProcess((await until(() => true)).services.cameras?.pid ?? 0, 'SIGKILL');
      const { code, stdout } = await local(['status', ...data()]);
      return { code, stdout };
    };
    const stdout = expect.stringMatching(/cameras\s.*UNHEALTHY/);
    await expect.poll(statusOfEnded, { timeout: 60_000 }).toEqual({ code: 1, stdout });
  });

  it('down stops all processes, and keeps the data', async () => {
    await up();
    const { services } = await until(
      ({ services }) =>
        'compact' in services && Object.values(services).every(({ state }) => state === 'running'),
    );
    const pids = Object.values(services).map(({ pid }) => pid ?? 0);
    expect(pids).toHaveLength(8);
    expect((await json('down')).stopped).toBeGreaterThan(0);
    expect(pids.filter((pid) => signalProcess(pid, 0))).toEqual([]);
    expect(await json('down')).toEqual({ stopped: null });
    const log = await readFile(join(folder, 'data/logs/supervisor.log'), 'utf8');
    expect(log).toContain('stopping');
    // By itself, before the 4.5 s were over after which it is ended.
    expect(log).not.toContain('ended after');
    expect(log).toContain('annotated frames: ');
    expect((await stat(join(folder, 'data/kafka/log'))).isDirectory()).toBe(true);
  });
});
