import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MSKRecord } from '@video-pipeline/frame';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { InFlightRecords } from './in-flight.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'notes-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const record = (offset: number) => ({ topic: 't', partition: 0, offset }) as MSKRecord;
const open = (cluster = 'b:1') => new InFlightRecords(folder, 'group', cluster);
/** Work during which the process crashes: its note stays. */
const die = (notes: InFlightRecords, ...offsets: number[]) =>
  void notes.during(offsets.map(record), () => new Promise(() => {}));

test('work that ends normally leaves no note file', async () => {
  const notes = open();
  await notes.during([record(1), record(2)], async () => {});
  await expect(notes.during([record(3)], () => Promise.reject(new Error('away')))).rejects.toThrow('away');
  expect(readdirSync(folder)).toEqual([]);
  expect(open().isOneByOne).toBe(false);
});

test('a record that ended its process in a batch and three times alone is refused, and others are delivered', async () => {
  die(open(), 1, 2, 3);
  const second = open();
  expect(second.isOneByOne).toBe(true);
  expect([1, 2, 3].map((offset) => second.crashReason(record(offset)))).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  await second.during([record(1)], async () => {});
  die(second, 2);

  const third = open();
  die(third, 2);
  const fourth = open();
  expect([1, 2, 3].map((offset) => fourth.crashReason(record(offset)))).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  die(fourth, 2);

  const fifth = open();
  expect(fifth.crashReason(record(1))).toBeUndefined();
  expect(fifth.crashReason(record(2))).toBe('the process ended 4 times while it worked on this record');
  expect(fifth.crashReason(record(3))).toBeUndefined();
  fifth.forget(['t-0-2']);
  await fifth.during([record(3)], async () => {});
  expect(fifth.isOneByOne).toBe(false);
  expect(readdirSync(folder)).toEqual([]);
});

test('when two batches were in flight at a crash, neither is refused', () => {
  const first = open();
  die(first, 1);
  die(first, 2);
  const second = open();
  die(second, 1);
  die(second, 2);
  const third = open();
  expect([1, 2].map((offset) => third.crashReason(record(offset)))).toEqual([undefined, undefined]);
  expect(third.isOneByOne).toBe(true);
});

test('after a normal stop no record is suspected', () => {
  const notes = open();
  die(notes, 1);
  notes.close();
  expect(open().isOneByOne).toBe(false);
});

test('notes of other clusters, of live processes, and damaged notes are ignored', () => {
  die(open('elsewhere:1'), 1);
  expect(open('b:1').isOneByOne).toBe(false);
  const note = JSON.stringify({ cluster: 'b:1', work: [['t-0-9']], suspects: [] });
  writeFileSync(join(folder, `group.${process.ppid}.json`), note);
  writeFileSync(join(folder, 'group.999999998.json'), '{"cluster":');
  writeFileSync(join(folder, 'group-annotate.999999999.json'), note);
  expect(open('b:1').isOneByOne).toBe(false);
  writeFileSync(join(folder, 'group.999999997.json'), note);
  expect(open('b:1').isOneByOne).toBe(true);
});

test('the next process gets the group member id of a crashed process', () => {
  open().joinAs('group-1');
  expect(open('other').formerMembers).toEqual([]);
  open().joinAs('group-2');
  expect(open().formerMembers).toEqual(['group-2']);
  expect(readdirSync(folder)).toEqual([]);
});

test('a notes folder that was deleted is created again', async () => {
  const notes = open();
  notes.joinAs('group-1');
  rmSync(folder, { recursive: true });
  await notes.during([record(1)], async () => expect(readdirSync(folder)).toHaveLength(1));
  expect(open().formerMembers).toEqual(['group-1']);
});

test('records are delivered even if no note can be written, as on a full disk', async () => {
  const notes = open();
  mkdirSync(join(folder, `group.${process.pid}.json`));
  expect(() => notes.joinAs('group-1')).not.toThrow();
  expect(await notes.during([record(1)], async () => 'done')).toBe('done');
});
