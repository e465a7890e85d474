import type { MSKEvent, MSKRecord } from '@video-pipeline/frame';
import type { StoredObject } from '@video-pipeline/storage';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { Batch } from './batcher.ts';
import { backoffMs, type DeliveryOptions, deliver } from './delivery.ts';
import { toFailedRecords, toS3Destination } from './on-failure.ts';

const batch: Batch = {
  records: [
    [0, 7],
    [1, 3],
    [0, 8],
  ].map(([partition = 0, offset = 0]) => ({
    topic: 'frames',
    partition,
    offset,
    timestamp: 1_764_000_000_000 + offset,
    timestampType: 'CREATE_TIME',
    key: '',
    value: '',
    headers: [],
  })),
  partitions: [0, 1],
  bytes: 500,
};

const waits: number[] = [];
beforeEach(() => void waits.splice(0));
const source = { eventSourceArn: 'arn:aws:kafka:x', bootstrapServers: 'b:9092' };

function optionsOf(
  handler: DeliveryOptions['handler'],
  more: Partial<DeliveryOptions> = {},
): DeliveryOptions {
  return {
    handler,
    functionName: 'detect',
    timeoutMs: 5000,
    source,
    maxBytes: 1000,
    onTooLarge: () => Promise.reject(new Error('not expected')),
    logger: { warn: vi.fn() },
    signal: new AbortController().signal,
    wait: async (ms) => void waits.push(ms),
    ...more,
  };
}
const failing = () => vi.fn((_event: MSKEvent) => Promise.reject(new Error('away')));
const always = () => true;

test('the handler gets the event that MSK would send, partition by partition', async () => {
  const handler = vi.fn(async () => {});
  expect(await deliver(batch, optionsOf(handler), always)).toBe(true);
  const [first, second, third] = batch.records;
  expect(handler).toHaveBeenCalledExactlyOnceWith(
    {
      eventSource: 'aws:kafka',
      ...source,
      records: { 'frames-0': [first, third], 'frames-1': [second] },
    },
    {
      functionName: 'detect',
      awsRequestId: expect.any(String),
      getRemainingTimeInMillis: expect.any(Function),
    },
  );
});

test('a batch that fails is retried as a whole, with a growing backoff, until it succeeds', async () => {
  const handler = failing();
  for (let times = 0; times < 4; times++) handler.mockRejectedValueOnce(new Error('away'));
  handler.mockResolvedValueOnce(undefined as never);
  expect(await deliver(batch, optionsOf(handler), always)).toBe(true);
  expect(handler).toHaveBeenCalledTimes(5);
  for (const [event] of handler.mock.calls) expect(event).toEqual(handler.mock.calls[0]?.[0]);
  expect(waits).toEqual([250, 500, 1000, 2000]);
});

test('a handler that throws synchronously is retried as well', async () => {
  let calls = 0;
  const handler = () => {
    if (++calls < 2) throw new Error('at once');
  };
  expect(await deliver(batch, optionsOf(handler), always)).toBe(true);
});

test('a handler that exceeds its timeout fails, and the batch is delivered again', async () => {
  const logger = { warn: vi.fn() };
  const remaining: number[] = [];
  const handler: DeliveryOptions['handler'] = async (_event, context) => {
    remaining.push(context.getRemainingTimeInMillis());
    if (remaining.length < 2) await new Promise(() => {});
  };
  expect(await deliver(batch, optionsOf(handler, { timeoutMs: 40, logger }), always)).toBe(true);
  expect(remaining).toHaveLength(2);
  for (const ms of remaining) expect(ms).toBeGreaterThan(0);
  expect(logger.warn.mock.calls[0]?.[1]).toMatchObject({
    name: 'HandlerTimeoutError',
    message: 'detect timed out after 0.04 s',
  });
});

test('the backoff is at most ten seconds', () => {
  expect([1, 2, 3, 6, 7, 50].map(backoffMs)).toEqual([250, 500, 1000, 8000, 10_000, 10_000]);
});

test('a batch whose partitions were revoked is abandoned', async () => {
  const handler = failing();
  expect(await deliver(batch, optionsOf(handler), () => handler.mock.calls.length < 3)).toBe(false);
  expect(handler).toHaveBeenCalledTimes(3);
});

test('a stop ends the retries', async () => {
  const stopping = new AbortController();
  const handler = failing();
  const wait = async () => stopping.abort();
  expect(await deliver(batch, optionsOf(handler, { signal: stopping.signal, wait }), always)).toBe(false);
  expect(handler).toHaveBeenCalledTimes(1);
});

describe('a batch that can not be processed', () => {
  function destination(faults = 0) {
    const objects: StoredObject[] = [];
    let left = faults;
    const put = async (object: StoredObject) => {
      if (left-- > 0) throw new Error('503');
      objects.push(object);
    };
    return { objects, store: { put } };
  }

  test("goes to the on-failure destination after its retries, in Lambda's format, and is committed", async () => {
    const { objects, store } = destination();
    const handler = failing();
    const afterRetries = { maxRetries: 2, onFailure: toS3Destination(store, 'dead/letters') };
    expect(await deliver(batch, optionsOf(handler, { afterRetries }), always)).toBe(true);
    expect(handler).toHaveBeenCalledTimes(3);
    expect(objects.map(({ key }) => key)).toEqual(['dead/letters/frames-0-7-1764000000007']);
    const written = JSON.parse(String(objects[0]?.body));
    expect(written).toMatchObject({
      requestContext: {
        functionArn: 'detect',
        condition: 'RetryAttemptsExhausted',
        approximateInvokeCount: 3,
      },
      responseContext: { functionError: 'Unhandled' },
      version: '1.0',
      KafkaBatchInfo: {
        batchSize: 3,
        ...source,
        payloadSize: Buffer.byteLength(written.payload),
        recordsInfo: {
          'frames-0': { firstRecordOffset: '7', lastRecordOffset: '8' },
          'frames-1': { firstRecordOffset: '3', lastRecordOffset: '3' },
        },
      },
    });
    expect(JSON.parse(written.payload)).toEqual(handler.mock.calls[0]?.[0]);
  });

  test('goes to the on-failure destination once one of its records is too old, however few the attempts', async () => {
    const { objects, store } = destination();
    const handler = failing();
    const now = Date.now();
    const records = batch.records.map((record, index) => ({ ...record, timestamp: now - 59_900 + index }));
    const afterRetries = { maxRetries: 10_000, maxAgeMs: 60_000, onFailure: toS3Destination(store, 'dead') };
    vi.useFakeTimers({ now });
    const wait = async () => void vi.setSystemTime(Date.now() + 60);
    try {
      const options = optionsOf(handler, { afterRetries, wait });
      expect(await deliver({ ...batch, records }, options, always)).toBe(true);
    } finally {
      vi.useRealTimers();
    }
    expect(handler).toHaveBeenCalledTimes(2);
    expect(JSON.parse(String(objects[0]?.body)).requestContext).toMatchObject({
      condition: 'RecordAgeExceeded',
      approximateInvokeCount: 2,
    });
  });

  test('with a record without a valid timestamp is not too old, and goes to the destination after its retries', async () => {
    const { objects, store } = destination();
    const handler = failing();
    const afterRetries = { maxRetries: 1, maxAgeMs: 60_000, onFailure: toS3Destination(store, 'dead') };
    const records = [-1, 1.7e18].map((timestamp) => ({ ...(batch.records[0] as MSKRecord), timestamp }));
    let turns = 0;
    const isOurs = () => turns++ < 5;
    expect(await deliver({ ...batch, records }, optionsOf(handler, { afterRetries }), isOurs)).toBe(true);
    expect(handler).toHaveBeenCalledTimes(2);
    expect(JSON.parse(String(objects[0]?.body)).KafkaBatchInfo.recordsInfo['frames-0']).toMatchObject({
      firstRecordTimestamp: '1969-12-31T23:59:59.999Z',
      lastRecordTimestamp: '+275760-09-13T00:00:00.000Z',
    });
  });

  test('is not committed before the destination has it, and the handler is not called again', async () => {
    const { objects, store } = destination(2);
    const handler = failing();
    const afterRetries = { maxRetries: 0, onFailure: toS3Destination(store, '') };
    expect(await deliver(batch, optionsOf(handler, { afterRetries }), always)).toBe(true);
    expect(handler).toHaveBeenCalledTimes(1);
    expect(objects.map(({ key }) => key)).toEqual(['frames-0-7-1764000000007']);
  });

  test('with one record too large for an invocation goes to the destination without a call of the handler', async () => {
    const { objects, store } = destination();
    const handler = vi.fn();
    const onTooLarge = toS3Destination(store, 'dead');
    expect(await deliver({ ...batch, bytes: 1001 }, optionsOf(handler, { onTooLarge }), always)).toBe(true);
    expect(handler).not.toHaveBeenCalled();
    expect(JSON.parse(String(objects[0]?.body))).toMatchObject({
      requestContext: { condition: 'MaximumPayloadSizeExceeded', approximateInvokeCount: 0 },
      responseContext: null,
    });
  });

  test('with one record too large goes record by record to failed/ if there is no destination', async () => {
    const putFailed = vi.fn(async () => {});
    const onTooLarge = toFailedRecords(putFailed);
    await deliver({ ...batch, bytes: 1001 }, optionsOf(vi.fn(), { onTooLarge }), always);
    expect(putFailed.mock.calls).toEqual(
      batch.records.map((record) => [record, 'MaximumPayloadSizeExceeded']),
    );
  });
});

describe('one record that always fails', () => {
  const offsetsOf = (event: MSKEvent) =>
    Object.values(event.records)
      .flat()
      .map(({ partition, offset }) => `${partition}:${offset}`);
  /** Fails for every event with the record, and for all events while `away`. */
  function setup(poison: string, away = (_call: number) => false) {
    const calls: string[][] = [];
    const handler: DeliveryOptions['handler'] = async (event) => {
      calls.push(offsetsOf(event));
      if (away(calls.length)) throw new Error('away');
      if (offsetsOf(event).includes(poison)) throw new TypeError('it is poison');
    };
    const putFailed = vi.fn(async () => {});
    return { calls, putFailed, options: optionsOf(handler, { putFailed }) };
  }

  test('goes to failed/ once it failed four times alone while other records succeeded', async () => {
    const { calls, putFailed, options } = setup('1:3');
    expect(await deliver(batch, options, always)).toBe(true);
    expect(putFailed.mock.calls).toEqual([
      [batch.records[1], 'failed 4 times on its own: it is poison', { code: 'FAILS_ALWAYS' }],
    ]);
    const whole = ['0:7', '0:8', '1:3'];
    expect(calls.slice(0, 5)).toEqual(Array(5).fill(whole));
    expect(calls.slice(5)).toEqual([['0:7'], ['1:3'], ['0:8'], ['1:3'], ['1:3'], ['0:8'], ['1:3']]);
  });

  test('does not delay other streams, and is found even as the first record of a process', async () => {
    const { calls, putFailed, options } = setup('0:7');
    const alone = { ...batch, records: batch.records.filter(({ partition }) => partition === 0) };
    expect(await deliver(alone, options, always)).toBe(true);
    expect(putFailed.mock.calls).toMatchObject([
      [{ offset: 7 }, 'failed 4 times on its own: it is poison', {}],
    ]);
    expect(calls.slice(5)).toEqual([['0:7'], ['0:7'], ['0:7'], ['0:8'], ['0:7']]);
  });

  test('is distinguished from a broken handler by an earlier record that is delivered again', async () => {
    const { calls, options } = setup('0:7');
    const lastGood = {};
    await deliver({ ...batch, records: batch.records.slice(1, 2) }, { ...options, lastGood }, always);
    const next = { ...batch, records: batch.records.slice(0, 1) };
    expect(await deliver(next, { ...options, lastGood }, always)).toBe(true);
    expect(calls.slice(-2)).toEqual([['1:3'], ['0:7']]);
  });

  test('does not go to failed/ while no record succeeds at all', async () => {
    const { putFailed, options } = setup('none', (call) => call < 40);
    expect(await deliver(batch, options, always)).toBe(true);
    expect(putFailed).not.toHaveBeenCalled();
  });

  test('does not go to failed/ when records that succeeded before fail now, too', async () => {
    const { putFailed, options } = setup('1:3', (call) => call > 8);
    let turns = 0;
    expect(await deliver(batch, options, () => turns++ < 20)).toBe(false);
    expect(putFailed).not.toHaveBeenCalled();
  });
});

test('a stream keeps its order when the fault ends while its records are delivered one by one', async () => {
  const taken: number[] = [];
  let calls = 0;
  const handler: DeliveryOptions['handler'] = ({ records }) => {
    if (++calls <= 6) throw new Error('away'); // Five times the whole, then the first record alone.
    taken.push(...Object.values(records).flatMap((some) => some.map(({ offset }) => offset)));
  };
  const stream = {
    ...batch,
    records: batch.records.map((one, offset) => ({ ...one, partition: 0, offset })),
  };
  expect(await deliver(stream, optionsOf(handler, { putFailed: async () => {} }), always)).toBe(true);
  expect(taken).toEqual([0, 1, 2]);
});

test('records that can not be read go to failed/ by reference, and the rest is delivered', async () => {
  const handler = vi.fn(async () => {});
  const putFailed = vi.fn(async () => {});
  putFailed.mockRejectedValueOnce(new Error('503'));
  const [one, two, three] = batch.records as [MSKRecord, MSKRecord, MSKRecord];
  const refused = [
    {
      record: two,
      refusal: {
        code: 'BATCH_UNREADABLE',
        first: 2,
        last: 3,
        reason: 'fails its checksum',
        bytes: 99,
      } as const,
    },
  ];
  const mixed = { ...batch, records: [one, three], refused };
  expect(await deliver(mixed, optionsOf(handler, { putFailed }), always)).toBe(true);
  const reference = { first_offset: 2, last_offset: 3, bytes: 99 };
  const call = [two, 'fails its checksum', { code: 'BATCH_UNREADABLE', reference }];
  expect(putFailed.mock.calls).toEqual([call, call]);
  expect(handler).toHaveBeenCalledExactlyOnceWith(
    expect.objectContaining({ records: { 'frames-0': [one, three] } }),
    expect.anything(),
  );
});

test('after a crash records are delivered one at a time, without the one that crashed the process repeatedly', async () => {
  const calls: number[] = [];
  const handler: DeliveryOptions['handler'] = async ({ records }) =>
    void calls.push(...Object.values(records).map(({ length }) => length));
  const putFailed = vi.fn(async () => {});
  const inFlight = {
    isOneByOne: true,
    crashReason: ({ offset }: MSKRecord) => (offset === 3 ? 'its process ended' : undefined),
    during: (_records: unknown, work: () => Promise<unknown>) => work(),
    forget: vi.fn(),
  };
  const options = optionsOf(handler, { putFailed, inFlight: inFlight as never });
  expect(await deliver(batch, options, always)).toBe(true);
  expect(calls).toEqual([1, 1]);
  expect(putFailed.mock.calls).toEqual([[batch.records[1], 'its process ended', { code: 'ENDS_PROCESS' }]]);
  expect(inFlight.forget).toHaveBeenCalledExactlyOnceWith(['frames-1-3']);
});
