import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLIPS, fetchAsset } from '@video-pipeline/assets';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { State } from '../../packages/local/src/session.ts';
import { findChromium, launchChromium } from './chromium.ts';
import { type StackProcess, startStackProcess } from './stack-process.ts';

const CLI = join(import.meta.dirname, '../../packages/cli/src/main.ts');
const OPERATE = join(import.meta.dirname, '../../packages/cli/src/operate.ts');
/** What is wrong is said within so long, and so is its end. */
const TOLD = 10_000;
/** By the name of its service: the part, and how the page calls it. */
const PARTS = {
  s3proxy: ['s3', 'S3'],
  kafka: ['kafka', 'Kafka'],
  model: ['model', 'The model server'],
} as const;
type Service = keyof typeof PARTS;
const SERVICES = Object.keys(PARTS) as Service[];

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
  let stack: StackProcess;
  let browser: Browser | undefined;
  let page: Page | undefined;
  const status = () => run(CLI, 'status', '--data-dir', dataDir);
  const pidOf = async (service: Service) => (await stack.state())?.services[service]?.pid ?? 0;

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'outages-'));
    const [clip = ''] = await fetchAsset(CLIPS, () => {});
    const source = ['--source', `yard=${clip}?loop`, '--frame-rate', '2'];
    stack = startStackProcess(dataDir, source, { BATCH_TIMEOUT_SECONDS: '1' });
    const isWhole = ({ health, latency_ms }: State) =>
      latency_ms.p50 !== null && Object.values(health).every(({ ok }) => ok);
    const { endpoints } = await stack.until(
      isWhole,
      'an annotated frame, and six parts that answer',
      120_000,
    );
    if (!findChromium()) return;
    browser = await launchChromium();
    page = await browser.newPage();
    await page.goto(`${endpoints.console}/#/flow`);
  }, 150_000);
  afterAll(async () => {
    await browser?.close();
    stack.child.kill('SIGTERM');
    await stack.exited;
    await rm(dataDir, { recursive: true, force: true });
  });

  /** Waits until the page and the command say so of each part. @returns how long it took, ms */
  async function said(
    onPage: (name: string) => RegExp,
    byStatus: (part: string) => RegExp,
    code: number,
  ): Promise<number> {
    const began = Date.now();
    const parts = Object.values(PARTS);
    const told = parts.map(([, name]) =>
      page?.locator('#outages').getByText(onPage(name)).waitFor({ timeout: 20_000 }),
    );
    const command = async () => {
      for (let now = await status(); ; now = await status()) {
        if (parts.every(([part]) => byStatus(part).test(now.stdout)) && now.code === code) return;
        if (Date.now() - began > 20_000) throw new Error(`status never said so:\n${now.stdout}`);
        // Each time, it takes half a second of a core.
        await sleep(1_000);
      }
    };
    await Promise.all([...told, command()]);
    return Date.now() - began;
  }

  test('tells how six parts are, in one place', async () => {
    const { code, stdout } = await status();
    expect(code, stdout).toBe(0);
    for (const part of ['kafka', 's3', 'model', 'ingest', 'detect', 'annotate'])
      expect(stdout).toMatch(new RegExp(`^${part} +answers since \\d\\d:\\d\\d:\\d\\d$`, 'm'));
    await page?.getByRole('table', { name: 'Health' }).getByText('answers').nth(5).waitFor();
  });

  test('says within ten seconds that S3, Kafka and the model hang, and that they are back', async () => {
    const pids = await Promise.all(SERVICES.map(pidOf));
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      const after = await said(
        (name) => new RegExp(`^${name} can't be reached since \\d\\d:\\d\\d:\\d\\d: .`),
        (part) => new RegExp(`^${part} +DOES NOT ANSWER since \\d\\d:\\d\\d:\\d\\d: .`, 'm'),
        1,
      );
      expect(after).toBeLessThan(TOLD);
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    const back = await said(
      (name) => new RegExp(`^${name} is back since`),
      (part) => new RegExp(`^${part} +answers since .*before, it did not for \\d+ s`, 'm'),
      0,
    );
    expect(back).toBeLessThan(TOLD);
  });

  test('says that what was ended answers again, and loses nothing of all this', async () => {
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
    await stack.until(({ health }) => Object.values(health).every(({ ok }) => ok), 'all well', 40_000);
    const { code, stdout } = await status();
    expect(code, stdout).toBe(0);
    const { streams } = (await stack.state()) as State;
    expect(streams.yard).toMatchObject({ dropped: 0, failed: 0 });
    await sleep(3_000);
    const log = join(dataDir, 'logs/ingest.log');
    const audit = await run(OPERATE, 'audit', '--data-dir', dataDir, '--ingest-log', log);
    expect(audit.stdout).toMatch(/^[1-9]\d* frames in Kafka: .* 0 lost$/m);
    expect(audit.code, audit.stdout).toBe(0);
  });
});
