import { setImmediate } from 'node:timers/promises';
import { HOUR_MS } from '@video-pipeline/frame';
import type { Kafka } from '@video-pipeline/kafka';
import { expect, test } from 'vitest';
import { type Handler, startEventSource } from './index.ts';

/** A broker with one partition, whose records come when they are told to. */
function brokerOf(topic: string) {
  type Listener = (event: { payload: unknown }) => void;
  const listeners = new Map<string, Listener>();
  let eachBatch: (payload: unknown) => Promise<void> = async () => {};
  const consumer = {
    events: { GROUP_JOIN: 'join', COMMIT_OFFSETS: 'commit', CRASH: 'crash', END_BATCH_PROCESS: 'end' },
    on: (event: string, listener: Listener) => listeners.set(event, listener),
    async connect() {},
    async subscribe() {},
    async commitOffsets() {},
    async disconnect() {},
    async run(options: { eachBatch: typeof eachBatch }) {
      eachBatch = options.eachBatch;
      listeners.get('join')?.({ payload: { memberId: 'me', memberAssignment: { [topic]: [0] } } });
    },
  };
  const send = (offset: number) => {
    const messages = [
      { offset: String(offset), timestamp: '0', key: null, value: Buffer.from('frame'), headers: {} },
    ];
    return eachBatch({
      batch: { topic, partition: 0, highWatermark: '99', messages },
      pause: () => () => {},
    });
  };
  return { kafka: { consumer: () => consumer } as unknown as Kafka, send };
}

test('the first batch after a start is delivered at once, and the next one waits to be filled', async () => {
  const { kafka, send } = brokerOf('frames');
  const delivered: number[][] = [];
  const handler: Handler = async ({ records }) => {
    delivered.push(Object.values(records).flatMap((those) => those.map(({ offset }) => offset)));
  };
  const source = await startEventSource({
    ...{ kafka, topic: 'frames', groupId: 'detect', handler, functionName: 'detect', timeoutMs: 1_000 },
    ...{ batchSize: 25, windowMs: HOUR_MS, concurrency: 1 },
    source: {
      eventSourceArn: 'arn:aws:kafka:us-east-1:000000000000:cluster/local',
      bootstrapServers: 'here:9092',
    },
    async putFailed() {},
    async onTooLarge() {},
    logger: { info() {}, warn() {} },
    onCrash: (error) => expect.fail(error.message),
  });
  await send(0);
  await expect.poll(() => delivered).toEqual([[0]]);
  for (let offset = 1; offset < 25; offset++) await send(offset);
  await setImmediate();
  expect(delivered).toHaveLength(1);
  await send(25);
  await expect.poll(() => delivered[1]).toHaveLength(25);
  await source.stop();
});
