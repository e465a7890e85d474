import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startRig } from '../e2e/handlers-rig.ts';
import { unique } from '../support/unique.ts';

test('a record that ends its process goes to failed/ after it has done so three times alone', async ({
  onTestFinished,
}) => {
  const rig = await startRig();
  const notes = await mkdtemp(join(tmpdir(), 'notes-'));
  onTestFinished(async () => {
    await rig.reset();
    await rig.stop();
    await rm(notes, { recursive: true, force: true });
  });
  const topic = unique('records');
  await rig.createTopics([topic], 1);
  const values = ['a', 'b', 'kill', 'c', 'd'];
  await rig.publish(
    topic,
    values.map((value) => ({ key: 'gate', value: Buffer.from(value), headers: {} })),
  );
  const handler = join(import.meta.dirname, 'killing-handler.ts');
  const args = ['--handler', handler, '--topic', topic, '--group', `${topic}-detect`, '--window', '0.2'];
  const run = () => rig.runToEnd([...args, '--notes', notes]);
  for (const _time of ['in a batch', 'alone', 'alone', 'alone'])
    expect(await run()).toMatchObject({ signal: 'SIGKILL' });
  void run();
  await expect.poll(() => rig.lag('detect', topic), { timeout: 40_000 }).toBe(0);
  const key = `failed/event-source/${topic}-0-2`;
  expect(await rig.keys('failed/')).toEqual([key]);
  const { reason, record } = JSON.parse(String(await rig.read(key)));
  expect(reason).toBe('the process ended 4 times while it worked on this record');
  expect(Buffer.from(record.value, 'base64').toString()).toBe('kill');
});
