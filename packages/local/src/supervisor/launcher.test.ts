import { expect, test } from 'vitest';
import { Launcher, type StopPhase } from './launcher.ts';

test('services stop phase by phase, whatever their names are, and none that stops by itself is killed', async () => {
  const told: string[] = [];
  const launcher = new Launcher('/nowhere', { note() {}, onLine() {}, onStart() {} });
  const run = (name: string, place: StopPhase) => {
    const ended = Promise.withResolvers<string>();
    const end = (how: string) => async () => {
      await Promise.resolve();
      told.push(`${name} ${how}`);
      ended.resolve('0');
    };
    return launcher.run(name, place, async () => ({
      pid: 1,
      exited: ended.promise,
      stop: end('stopped'),
      kill: async () => {
        if (!told.includes(`${name} stopped`)) await end('killed')();
      },
    }));
  };
  await run('kafka', 'servers');
  await run('a stage that nobody has heard of', 'stages');
  await run('detect', 'stages');
  await run('model', 'model');
  await run('ingest', 'ends');
  await launcher.stop();
  expect(told).toEqual([
    'ingest stopped',
    'a stage that nobody has heard of stopped',
    'detect stopped',
    'model stopped',
    'kafka stopped',
  ]);
});

test('a service that is being restarted is stopped as well, and does not delay the others', async () => {
  const launcher = new Launcher('/nowhere', { note() {}, onLine() {}, onStart() {} });
  let starts = 0;
  let ended = false;
  await launcher.run('kafka-2', 'servers', async (stop) => {
    if (starts++ === 0) return { pid: 1, exited: Promise.resolve('137'), async stop() {}, async kill() {} };
    return new Promise((_, reject) => {
      stop.addEventListener('abort', () => {
        ended = true;
        reject(new Error('was told to stop'));
      });
    });
  });
  await expect.poll(() => starts).toBe(2);
  const began = performance.now();
  await launcher.stop();
  // What does not end by then is killed.
  expect(performance.now() - began).toBeLessThan(3_000);
  expect(ended).toBe(true);
});
