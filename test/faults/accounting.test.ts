import { expect, test } from 'vitest';
import { orderOn } from './accounting.ts';

const homes = new Map([1, 2, 3].map((number) => [`7/${number}`, 0]));

/** @param records `frame@partition`, as they are read */
function lateOf(...records: string[]): string[] {
  const order = orderOn('detections', homes);
  for (const record of records) {
    const [number, partition] = record.split('@');
    order.take(`7/${number}`, { partition: Number(partition) });
  }
  return order.late();
}

test('lateOf reports a frame that comes after a later frame of its stream', () => {
  expect(lateOf('1@0', '3@0', '2@0')).toEqual(['7/2 on detections-0']);
});

test('lateOf does not report frames that are delivered again', () => {
  expect(lateOf('1@0', '2@0', '3@0', '1@0', '2@0')).toEqual([]);
});

test('lateOf does not report a frame delivered again to the new partition, in either order of reading', () => {
  expect(lateOf('2@4', '3@4', '1@4', '1@2')).toEqual([]);
  expect(lateOf('1@2', '2@4', '3@4', '1@4')).toEqual([]);
});
