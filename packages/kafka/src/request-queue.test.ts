import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import './connect.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const logger = { debug: () => {} };
const createQueue = () => new RequestQueue({ requestTimeout: 1000, clientId: 'c', broker: 'b:1', logger });

test('a connection without waiting requests sets no timer', () => {
  createQueue().scheduleCheckPendingRequests();
  expect(vi.getTimerCount()).toBe(0);
});

test('a connection with a waiting request sets a timer', () => {
  const queue = createQueue();
  queue.throttledUntil = Date.now() + 60;
  queue.pending.push({});
  queue.scheduleCheckPendingRequests();
  expect(vi.getTimerCount()).toBe(1);
});
