import ConsumerGroup from 'kafkajs/src/consumer/consumerGroup.js';
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import './connect.ts';

const HOUR = 3_600_000;
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('heartbeats go on when the clock is set back', async () => {
  const beats: number[] = [];
  const group = new ConsumerGroup({
    logger: { namespace: () => ({}) },
    retry: {},
    cluster: {},
    groupId: 'g',
    instrumentationEmitter: { emit() {} },
    topics: [],
  });
  Object.assign(group, {
    memberId: 'm',
    coordinator: { heartbeat: async () => void beats.push(Date.now()) },
  });
  vi.setSystemTime(10 * HOUR);
  await group.heartbeat({ interval: 0 });
  vi.setSystemTime(9 * HOUR);
  await group.heartbeat({ interval: 1_500 });
  expect(beats).toEqual([10 * HOUR, 9 * HOUR]);
});

test('so do requests of a client that a broker asked to wait, and those wait that are to', () => {
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
  expect(queue.canSendSocketRequestImmediately()).toBe(true);
});
