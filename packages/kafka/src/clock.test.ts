import BrokerPool from 'kafkajs/src/cluster/brokerPool.js';
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import './connect.ts';
import { fakeMember } from '../test/fake-cluster.ts';

const HOUR = 3_600_000;
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('heartbeats continue when the clock is set back', async () => {
  const beats: number[] = [];
  const group = fakeMember({
    memberId: 'm',
    coordinator: { heartbeat: async () => void beats.push(Date.now()) },
  });
  vi.setSystemTime(10 * HOUR);
  await group.heartbeat({ interval: 0 });
  vi.setSystemTime(9 * HOUR);
  await group.heartbeat({ interval: 1_500 });
  vi.advanceTimersByTime(1_500);
  await group.heartbeat({ interval: 1_500 });
  expect(beats).toEqual([10 * HOUR, 9 * HOUR + 1_500]);
});

test('throttled requests are sent after the throttle time when the clock is set back', () => {
  vi.setSystemTime(10 * HOUR);
  const queue = new RequestQueue({
    requestTimeout: 1000,
    clientId: 'c',
    broker: 'b:1',
    logger: { debug() {} },
  });
  queue.throttledUntil = Date.now() + 500;
  expect(queue.canSendSocketRequestImmediately()).toBe(false);
  vi.setSystemTime(9 * HOUR);
  expect(queue.canSendSocketRequestImmediately()).toBe(false);
  vi.advanceTimersByTime(500);
  expect(queue.canSendSocketRequestImmediately()).toBe(true);
});

test('new partitions are found when the clock is set back', async () => {
  const asked: number[] = [];
  const pool = new BrokerPool({ logger: { namespace: () => ({}) }, metadataMaxAge: 30_000 });
  Object.assign(pool, {
    findConnectedBroker: async () => ({
      metadata: async () => {
        asked.push(Date.now());
        return { brokers: [], topicMetadata: [{ topic: 't', partitionMetadata: [] }] };
      },
    }),
    seedBroker: { connectionPool: {} },
  });
  vi.setSystemTime(10 * HOUR);
  await pool.refreshMetadataIfNecessary(['t']);
  vi.setSystemTime(9 * HOUR);
  await pool.refreshMetadataIfNecessary(['t']);
  vi.advanceTimersByTime(30_001);
  await pool.refreshMetadataIfNecessary(['t']);
  expect(asked).toEqual([10 * HOUR, 9 * HOUR + 30_001]);
});

test.each([-HOUR, HOUR])(
  'a request without a response times out on time, although the clock moves by %i ms',
  (moved) => {
    vi.setSystemTime(10 * HOUR);
    const logger = { debug() {} };
    const queue = new RequestQueue({
      requestTimeout: 1000,
      enforceRequestTimeout: true,
      clientId: 'c',
      broker: 'b:1',
      logger,
    });
    const errors: string[] = [];
    const entry = {
      correlationId: 1,
      resolve() {},
      reject: (error: Error) => void errors.push(error.message),
    };
    queue.scheduleRequestTimeoutCheck();
    queue.push({ entry, expectResponse: true, sendRequest() {} });
    vi.setSystemTime(10 * HOUR + moved);
    vi.advanceTimersByTime(900);
    expect(errors).toEqual([]);
    vi.advanceTimersByTime(300);
    expect(errors).toHaveLength(1);
    queue.destroy();
  },
);
