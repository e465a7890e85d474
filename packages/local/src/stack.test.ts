import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isEnabled, STAGES } from '@video-pipeline/stages';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startStack } from './stack.ts';
import type { ChildProgram } from './supervisor/child.ts';
import { aborted, StartError } from './supervisor/processes.ts';

/** Running processes of the stack, by name, and those of them that do their work. */
const loaded = new Set<string>();
const begun = new Set<string>();
const server = () => {
  const { promise: exited, resolve } = Promise.withResolvers<string>();
  const end = async () => resolve('0');
  return { pid: 1, exited, stop: end, kill: end };
};
vi.mock('./supervisor/child.ts', () => ({
  async startChild({ name, begin, stop = new AbortController().signal }: ChildProgram) {
    loaded.add(name);
    stop.addEventListener('abort', () => loaded.delete(name));
    await Promise.race([begin?.(), aborted(stop)]);
    stop.throwIfAborted();
    begun.add(name);
    if (name === 'detect') await group.joined.promise;
    return server();
  },
}));
const kafka = vi.hoisted(() => ({ up: Promise.withResolvers<unknown>() }));
const group = vi.hoisted(() => ({ joined: Promise.withResolvers<void>() }));
vi.mock(import('./servers/kafka.ts'), async (original) => ({
  ...(await original()),
  startKafka: (() => kafka.up.promise) as never,
}));
vi.mock('./servers/s3proxy.ts', () => ({ startS3Proxy: async () => server() }));
vi.mock('./prepare.ts', () => ({ buildModel() {} }));
vi.mock(import('./backlog.ts'), async (original) => {
  const { Backlog } = await original();
  class Offline extends Backlog {
    override async createTopics(): Promise<void> {}
  }
  return { Backlog: Offline };
});

const ALWAYS = STAGES.filter((stage) => isEnabled(stage, {})).map(({ name }) => name);
const NEED_KAFKA = [...ALWAYS, 'console', 'ingest'];
let dataDir: string;
beforeEach(async () => {
  stop = new AbortController();
  kafka.up = Promise.withResolvers();
  group.joined = Promise.withResolvers();
  for (const names of [loaded, begun]) names.clear();
  dataDir = await mkdtemp(join(tmpdir(), 'stack-'));
  await mkdir(join(dataDir, 'run'));
});
afterEach(() => rm(dataDir, { recursive: true }));

let stop: AbortController;
const start = () =>
  startStack(
    {
      ...{ dataDir, autoPorts: true, brokers: 1, ingest: true, console: true },
      sources: [{ id: 'yard', url: 'rtsp://camera.example/', finite: false }],
    },
    { note() {}, onLine() {}, onStart() {} },
    stop.signal,
  );

test('all processes load while Kafka starts, those that need it begin after it, and ingest on demand', async () => {
  const starting = start();
  await expect.poll(() => [...loaded].sort()).toEqual([...NEED_KAFKA, 'model'].sort());
  await expect.poll(() => [...begun]).toEqual(['model']);
  kafka.up.resolve(server());
  const stack = await starting;
  await expect.poll(() => [...begun].sort()).toEqual([...ALWAYS, 'model'].sort());
  // Ingest opens its cameras while the stages join their groups.
  await Promise.all([stack.startIngest?.(), stack.startConsole?.()]);
  group.joined.resolve();
  await stack.stagesUp;
  expect([...begun].sort()).toEqual([...NEED_KAFKA, 'model'].sort());
  // The compactor takes no core from the first frame.
  await stack.startCompactor?.();
  expect(begun).toContain('compact');
  await stack.stop();
});

test('when Kafka does not start, nothing that needs it begins, and the reason is reported', async () => {
  const starting = start();
  await expect.poll(() => loaded.size).toBe(NEED_KAFKA.length + 1);
  kafka.up.reject(new StartError('Kafka ended (1)'));
  await expect(starting).rejects.toThrow('Kafka ended (1)');
  expect([...begun]).toEqual(['model']);
});

test('a stop during the start ends all loading processes, and starts nothing else', async () => {
  const starting = start();
  await expect.poll(() => loaded.size).toBe(NEED_KAFKA.length + 1);
  stop.abort();
  kafka.up.reject(new StartError('was told to stop'));
  await expect(starting).rejects.toThrow('stopped before it had started');
  expect([...loaded]).toEqual([]);
});

test('an invalid bucket name is rejected before anything starts', async () => {
  vi.stubEnv('S3_BUCKET', '../Frames');
  await expect(start()).rejects.toThrow(
    "S3_BUCKET=../Frames is not a bucket name: 3 to 63 lower-case letters, digits, '-' and '.'",
  );
  vi.unstubAllEnvs();
  expect(loaded.size).toBe(0);
});
