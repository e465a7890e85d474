import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { glob, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { annotatedKey, decodeFrame, failedKey } from '@video-pipeline/frame';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeRecordSet } from '../../packages/kafka/src/fetch/record-batch.ts';
import { stateFile } from '../../packages/local/src/lightweight.ts';
import type { State } from '../../packages/local/src/session.ts';
import { signalProcess } from '../../packages/local/src/supervisor/processes.ts';
import { hasChromium, launchChromium } from '../e2e/chromium.ts';
import { pidsOf, type StackProcess, startStackProcess } from '../e2e/stack-process.ts';
import { writeModel } from './numbered.ts';

const START = join(import.meta.dirname, '../../packages/local/src/main.ts');
const CLI = join(import.meta.dirname, '../../packages/cli/src/main.ts');
const OPERATE = join(import.meta.dirname, '../../packages/cli/src/operate.ts');
/** An outage and its end must be reported within this time, milliseconds. */
const TOLD = 10_000;
/** By the name of its service: the part, and how the page calls it. */
const PARTS = {
  s3proxy: ['s3', 'S3'],
  kafka: ['kafka', 'Kafka'],
  model: ['model', 'The model server'],
} as const;
type Service = keyof typeof PARTS;
const SERVICES = Object.keys(PARTS) as Service[];
/** All services. Those of a line end together: each starts again by itself. */
const TOGETHER = [
  ['cameras', 'ingest', 'compact', 'console', 's3proxy'],
  ['model', 'detect', 'annotate'],
  ['kafka'],
] as const;
/** Small batches: what is lost or doubled shows at their edges. And no thinning: what ends after so many frames would wait for them. */
const QUICK = { BATCH_SIZE: '10', BATCH_TIMEOUT_SECONDS: '1', MAX_LATENCY_SECONDS: '0' };

const isWell = ({ health }: State) => Object.values(health).every(({ ok }) => ok);

/** Runs a command line of ours. */
function run(script: string, ...args: string[]): Promise<{ code: number; stdout: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [script, ...args], (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout: stdout || stderr }),
    );
  });
}

describe('a running pipeline', () => {
  let dataDir: string;
  let model: string;
  let stack: StackProcess;
  let browser: Browser | undefined;
  let page: Page | undefined;
  const status = () => run(CLI, 'status', '--data-dir', dataDir);
  // Process 0 would be this process and all beside it, up to what runs the tests: a part that restarts has none.
  const pidOf = async (service: Service) => {
    const runs = ({ services }: State) => (services[service]?.pid ?? 0) > 0;
    const { services } = await stack.until(runs, `a process of ${service}`);
    return services[service]?.pid ?? Number.NaN;
  };

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'outages-'));
    // What is seen is of no matter here, and the default model takes more processor time, at each of its starts too.
    model = join(dataDir, 'small.onnx');
    await writeModel(model);
    stack = startStackProcess(dataDir, ['--frame-rate', '1', '--model', model], QUICK);
    const isWhole = (state: State) => state.latency_ms.p50 !== null && isWell(state);
    const { endpoints } = await stack.until(
      isWhole,
      'an annotated frame, and six parts that answer',
      120_000,
    );
    if (!hasChromium) return;
    browser = await launchChromium();
    page = await browser.newPage();
    await page.goto(`${endpoints.console}/#/flow`);
  }, 150_000);
  afterAll(async () => {
    await browser?.close();
    await stack.stop();
    await rm(dataDir, { recursive: true, force: true });
  });

  test('continues while its state file can not be written, as on a full disk', async () => {
    const file = stateFile(dataDir);
    const blocked = () =>
      mkdir(file).then(
        () => true,
        () => false,
      );
    while (!(await blocked())) await rm(file, { force: true });
    await sleep(2_500);
    await rm(file, { recursive: true });
    const now = Date.now();
    await stack.until(({ updated_at }) => updated_at > now, 'its state, once there is room');
  });

  /**
   * Waits until the page and the command say so of each part.
   * @param isKept whether the supervisor has noted it: before that, the command, which takes half a second of a core,
   * can't say so
   * @returns how long the supervisor took, ms. What the others take is the machine's: they have 20 s
   */
  async function untilStatus(
    onPage: (name: string) => RegExp,
    byStatus: (part: string) => RegExp,
    code: number,
    isKept: (state: State) => boolean,
  ): Promise<number> {
    const began = Date.now();
    const parts = Object.values(PARTS);
    const told = parts.map(([, name]) =>
      page?.locator('#outages').getByText(onPage(name)).waitFor({ timeout: 20_000 }),
    );
    const command = async () => {
      await stack.until(isKept, `the supervisor's note`, 20_000);
      const noted = Date.now() - began;
      for (let now = await status(); ; now = await status()) {
        if (parts.every(([part]) => byStatus(part).test(now.stdout)) && now.code === code) return noted;
        if (Date.now() - began > 20_000) throw new Error(`status never reported it:\n${now.stdout}`);
        await sleep(1_000);
      }
    };
    const [noted] = await Promise.all([command(), ...told]);
    return noted;
  }

  test('npm run local -- status prints the health of all six parts', async () => {
    const { code, stdout } = await status();
    expect(code, stdout).toBe(0);
    for (const part of ['kafka', 's3', 'model', 'ingest', 'detect', 'annotate'])
      expect(stdout).toMatch(new RegExp(`^${part} +answers since \\d\\d:\\d\\d:\\d\\d$`, 'm'));
    await page?.getByRole('table', { name: 'Health' }).getByText('answers').nth(5).waitFor();
  });

  test('reports within ten seconds that S3, Kafka and the model hang, and that they respond again', async () => {
    const pids = await Promise.all(SERVICES.map(pidOf));
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      const after = await untilStatus(
        (name) => new RegExp(`^${name} can't be reached since \\d\\d:\\d\\d:\\d\\d: .`),
        (part) => new RegExp(`^${part} +DOES NOT ANSWER since \\d\\d:\\d\\d:\\d\\d: .`, 'm'),
        1,
        ({ health }) => Object.values(PARTS).every(([part]) => health[part]?.ok === false),
      );
      expect(after).toBeLessThan(TOLD);
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    const back = await untilStatus(
      (name) => new RegExp(`^${name} is back since`),
      (part) => new RegExp(`^${part} +answers since .*before, it did not for \\d+ s`, 'm'),
      0,
      isWell,
    );
    expect(back).toBeLessThan(TOLD);
  });

  test('reports that services which were ended respond again, and loses no frame', async () => {
    const before = (await stack.state()) as State;
    for (const service of SERVICES) process.kill(await pidOf(service), 'SIGTERM');
    // On a quick machine a part may be back before anybody has missed it.
    const isBack = ({ services, health }: State) =>
      SERVICES.every(
        (service) =>
          (services[service]?.restarts ?? 0) > (before.services[service]?.restarts ?? 0) &&
          health[PARTS[service][0]]?.ok === true,
      );
    await stack.until(isBack, 'each started again, and answering', 40_000);
    await stack.until(isWell, 'all well', 40_000);
    // What was seen last may be of before the end, and a process that has just started does not answer yet.
    await expect.poll(async () => (await status()).code, { timeout: 40_000, interval: 1_000 }).toBe(0);
    const { streams } = (await stack.state()) as State;
    expect(Object.values(streams)).toHaveLength(3);
    for (const stream of Object.values(streams)) expect(stream).toMatchObject({ dropped: 0, failed: 0 });
    await sleep(3_000);
    const log = join(dataDir, 'logs/ingest.log');
    const audit = await run(OPERATE, 'audit', '--data-dir', dataDir, '--ingest-log', log);
    expect(audit.stdout).toMatch(/^[1-9]\d* frames in Kafka: .* 0 lost$/m);
    expect(audit.code, audit.stdout).toBe(0);
  });

  test('rejects a second stack on its folder', async () => {
    await browser?.close();
    const second = await run(START, '--data-dir', dataDir);
    expect(second.code).toBe(1);
    expect(second.stdout).toContain(`process ${stack.child.pid} already runs on`);
  });

  test.each([
    ['SIGKILL', TOGETHER],
    ['SIGTERM', [['ingest', 'annotate']]],
  ] as const)('restarts each service after %s', async (signal, groups) => {
    const endOne = async (name: string) => {
      const before = await stack.until((state) => state.services[name]?.pid !== undefined, `${name} up`);
      const { pid, restarts } = before.services[name] ?? { pid: 0, restarts: 0 };
      signalProcess(pid ?? 0, signal);
      await stack.until(
        ({ services }) => services[name]?.state === 'running' && (services[name]?.restarts ?? 0) > restarts,
        `${name} again after ${signal}`,
      );
    };
    for (const names of groups) await Promise.all(names.map(endOne));
    const { length } = TOGETHER.flat();
    const after = await stack.until((state) => Object.keys(state.services).length === length, 'all');
    await stack.until((state) => annotated(state) > annotated(after), 'frames flow again');
  });

  test('ends all services when the supervisor itself is killed', async () => {
    const state = await stack.until(() => true, 'a state');
    stack.child.kill('SIGKILL');
    const pids = pidsOf(state);
    for (let tenths = 150; tenths > 0 && pids.some((pid) => signalProcess(pid, 0)); tenths--)
      await sleep(100);
    expect(pids.filter((pid) => signalProcess(pid, 0))).toEqual([]);
  });

  test('after a restart processes the remaining frames, and then its own', async () => {
    stack = startStackProcess(dataDir, ['--frames', '30', '--json', '--model', model], QUICK);
    const { code } = await stack.exited;
    expect(code, stack.output.stderr).toBe(0);
    expect(JSON.parse(stack.output.stdout).frames.total).toMatchObject({ published: 30, annotated: 30 });
  });

  test('has each published frame in annotated/ or in failed/', async () => {
    const keys = await publishedFrames(join(dataDir, 'kafka/log'));
    expect(keys.length).toBeGreaterThan(60);
    const bucket = join(dataDir, 's3/video-pipeline-output');
    const missing = keys.filter((either) => !either.some((key) => existsSync(join(bucket, key))));
    expect(missing).toEqual([]);
  });
});

function annotated(state: State): number {
  return Object.values(state.streams).reduce((sum, stream) => sum + stream.annotated, 0);
}

/**
 * For each record on `video-frames`, the keys of which one must be in S3.
 * @param log folder of a Kafka that has ended: it need not be started to be read
 */
async function publishedFrames(log: string): Promise<string[][]> {
  const keys: string[][] = [];
  const topic = 'video-frames';
  for await (const file of glob(join(log, `${topic}-*/*.log`))) {
    const partition = Number(basename(dirname(file)).slice(topic.length + 1));
    const [from, set] = [Number.parseInt(basename(file), 10), await readFile(file)];
    const records = { set, from, end: Number.POSITIVE_INFINITY, aborted: [] };
    for (const message of await decodeRecordSet(records, { bytes: Number.POSITIVE_INFINITY })) {
      expect(message).not.toHaveProperty('refusal');
      const position = { topic, partition, offset: Number(message.offset) };
      keys.push([annotatedKey('annotated', decodeFrame(message)), failedKey('detect', position)]);
    }
  }
  return keys;
}
