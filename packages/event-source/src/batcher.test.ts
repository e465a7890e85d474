import type { MSKRecord } from '@video-pipeline/frame';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Batch, payloadBytes, RecordBatcher } from './batcher.ts';

const record = (partition: number, offset: number, valueLength = 4): MSKRecord => ({
  topic: 't',
  partition,
  offset,
  timestamp: 0,
  timestampType: 'CREATE_TIME',
  key: 'Z2F0ZQ==',
  value: 'A'.repeat(valueLength),
  headers: [{ stream_id: [103, 97, 116, 101] }],
});

const LIMITS = { maxRecords: 25, windowMs: 5000, maxBytes: 6 * 1024 * 1024 };

function batcherOf(partitions: number[], limits: Partial<typeof LIMITS> = {}) {
  const batcher = new RecordBatcher({ ...LIMITS, ...limits });
  batcher.assign(partitions);
  const add = (partition: number, offsets: number[], now = 0, valueLength = 4) => {
    for (const offset of offsets) batcher.add(record(partition, offset, valueLength), now);
  };
  return { batcher, add };
}

const range = (from: number, count: number) => Array.from({ length: count }, (_, index) => from + index);
const places = (batch: Batch | undefined) =>
  batch?.records.map(({ partition, offset }) => `${partition}:${offset}`);

test('the size of a record is that of its JSON in the event, including a comma', () => {
  const headers = [{ stream_id: [103, 97] }, { größe: [200, 1] }];
  const one = { ...record(0, 1234, 5000), headers };
  expect(payloadBytes(one)).toBe(Buffer.byteLength(JSON.stringify(one)) + 1);
});

describe('a batch is closed', () => {
  test('at 25 records, and holds no more', () => {
    const { batcher, add } = batcherOf([0]);
    add(0, range(0, 24));
    expect(batcher.take(0)).toBeUndefined();
    add(0, range(24, 3));
    expect(places(batcher.take(0))).toEqual(range(0, 25).map((offset) => `0:${offset}`));
  });

  test('at the window after its first record, not after its last', () => {
    const { batcher, add } = batcherOf([0]);
    add(0, [0], 1000);
    add(0, [1], 5900);
    expect(batcher.dueAt()).toBe(6000);
    expect(batcher.take(5999)).toBeUndefined();
    expect(places(batcher.take(6000))).toEqual(['0:0', '0:1']);
    expect(batcher.dueAt()).toBeUndefined();
  });

  test('at 6 MB of JSON, before the record that would not fit', () => {
    const { batcher, add } = batcherOf([0]);
    add(0, range(0, 4), 0, 2 * 1024 * 1024);
    const batch = batcher.take(0);
    expect(places(batch)).toEqual(['0:0', '0:1']);
    expect(batch?.bytes).toBeLessThanOrEqual(LIMITS.maxBytes);
  });

  test('a record of over 6 MB is a batch of its own, and does not delay others', () => {
    const { batcher, add } = batcherOf([0]);
    add(0, [0]);
    add(0, [1], 0, 7 * 1024 * 1024);
    add(0, [2]);
    const batches = range(0, 3).map(() => {
      const batch = batcher.take(9000);
      if (batch) batcher.release(batch);
      return places(batch);
    });
    expect(batches).toEqual([['0:0'], ['0:1'], ['0:2']]);
  });
});

describe('partitions', () => {
  test('share a batch when none fills one alone, with the longest waiting first', () => {
    const { batcher, add } = batcherOf([0, 1, 2], { maxRecords: 4 });
    add(2, [7], 1);
    add(0, [0], 2);
    add(1, [5, 6], 3);
    const batch = batcher.take(3);
    expect(places(batch)).toEqual(['2:7', '0:0', '1:5', '1:6']);
    expect(batch?.partitions.toSorted()).toEqual([0, 1, 2]);
  });

  test('that fill a batch alone get batches of their own, which can be processed at the same time', () => {
    const { batcher, add } = batcherOf([0, 1], { maxRecords: 3 });
    add(0, range(0, 4));
    add(1, range(0, 4));
    expect(places(batcher.take(0))).toEqual(['0:0', '0:1', '0:2']);
    expect(places(batcher.take(0))).toEqual(['1:0', '1:1', '1:2']);
  });

  test('wait for their batch before the next one', () => {
    const { batcher, add } = batcherOf([0], { maxRecords: 2 });
    add(0, range(0, 4));
    const first = batcher.take(0) as Batch;
    expect(batcher.take(99_999)).toBeUndefined();
    expect(batcher.dueAt()).toBeUndefined();
    batcher.release(first);
    expect(places(batcher.take(0))).toEqual(['0:2', '0:3']);
  });

  test('pause fetching once two batches are ready, by count or by size', () => {
    const { batcher, add } = batcherOf([0, 1]);
    add(0, range(0, 49));
    expect(batcher.hasEnough(0)).toBe(false);
    add(0, [49]);
    expect(batcher.hasEnough(0)).toBe(true);
    add(1, range(0, 3), 0, 4 * 1024 * 1024);
    expect(batcher.hasEnough(1)).toBe(true);
    expect(batcher.hasEnough(9)).toBe(false);
  });
});

describe('after a rebalance', () => {
  test('records of revoked partitions are dropped, and those of kept partitions are neither lost nor duplicated', () => {
    const { batcher, add } = batcherOf([0, 1]);
    add(0, [0, 1]);
    add(1, [0, 1]);
    batcher.assign([1, 2]);
    add(0, [2]);
    add(1, [0, 1, 2]);
    expect(places(batcher.take(5000))).toEqual(['1:0', '1:1', '1:2']);
  });

  test('a partition that is assigned again waits for its batch in flight', () => {
    const { batcher, add } = batcherOf([0], { maxRecords: 1 });
    add(0, [0]);
    const old = batcher.take(0) as Batch;
    batcher.assign([]);
    batcher.assign([0]);
    add(0, [0]);
    expect(batcher.take(0)).toBeUndefined();
    batcher.release(old);
    expect(places(batcher.take(0))).toEqual(['0:0']);
  });

  test('a topic that was recreated is read from offset 0', () => {
    const { batcher, add } = batcherOf([0], { maxRecords: 1 });
    add(0, [41]);
    expect(batcher.nextOffset(0)).toBe(42);
    batcher.reset(0);
    add(0, [0]);
    expect(places(batcher.take(0))).toEqual(['0:0']);
  });
});

test('for any input every record is delivered once, in the order of its partition, within the limits', () => {
  const step = fc.oneof(
    fc.record({ add: fc.nat({ max: 3 }), size: fc.nat({ max: 400 }) }),
    fc.record({ wait: fc.nat({ max: 20 }) }),
    fc.constant('take' as const),
    fc.constant('release' as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const limits = { maxRecords: 5, windowMs: 10, maxBytes: 1200 };
      const batcher = new RecordBatcher(limits);
      batcher.assign([0, 1, 2, 3]);
      const out: number[][] = [[], [], [], []];
      const added = [0, 0, 0, 0];
      const next = (partition: number) => {
        const offset = added[partition] ?? 0;
        added[partition] = offset + 1;
        return offset;
      };
      const inWork: Batch[] = [];
      let now = 0;
      const take = () => {
        const batch = batcher.take(now);
        if (!batch) return;
        expect(batch.records.length).toBeLessThanOrEqual(limits.maxRecords);
        if (batch.records.length > 1) expect(batch.bytes).toBeLessThanOrEqual(limits.maxBytes);
        const busy = new Set(inWork.flatMap(({ partitions }) => partitions));
        expect(batch.partitions.some((partition) => busy.has(partition))).toBe(false);
        for (const { partition, offset } of batch.records) out[partition]?.push(offset);
        inWork.push(batch);
      };
      const release = () => {
        const batch = inWork.shift();
        if (batch) batcher.release(batch);
      };
      for (const one of steps) {
        if (one === 'take') take();
        else if (one === 'release') release();
        else if ('wait' in one) now += one.wait;
        else batcher.add(record(one.add, next(one.add), one.size), now);
      }
      now += limits.windowMs;
      for (let left = 0; left < 400; left++) {
        take();
        release();
      }
      expect(out).toEqual(added.map((count) => range(0, count)));
    }),
  );
});

describe('gaps in the offsets of a partition', () => {
  test('are committed as soon as the records before them are processed', () => {
    const { batcher, add } = batcherOf([0]);
    expect(batcher.passTo(0, 5)).toBe(true);
    add(0, [5, 6, 9]);
    expect(batcher.passTo(0, 10)).toBe(false);
    expect(batcher.passTo(0, 12)).toBe(false);
    const batch = batcher.take(5_000);
    expect(places(batch)).toEqual(['0:5', '0:6', '0:9']);
    expect(batcher.endOf(0)).toBe(12);
    add(0, [12]);
    expect(batcher.endOf(0)).toBe(12);
    expect(batcher.passTo(0, 20)).toBe(false);
    if (batch) batcher.release(batch);
    expect(places(batcher.take(10_000))).toEqual(['0:12']);
    expect(batcher.endOf(0)).toBe(20);
  });

  test('that is not assigned are ignored', () => {
    const { batcher } = batcherOf([0]);
    expect(batcher.passTo(1, 5)).toBe(false);
  });
});
