import kafkajs from 'kafkajs';
import OffsetManager from 'kafkajs/src/consumer/offsetManager/index.js';
import { isRebalancing } from 'kafkajs/src/errors.js';
import { expect, test } from 'vitest';
import './connect.ts';
import { fakeMember } from '../test/fake-cluster.ts';

test.each([
  [
    "that can't be reached is looked up again, and the member joins again",
    new kafkajs.KafkaJSConnectionError('refused'),
    true,
  ],
  ['that rejects a heartbeat is not looked up again', new Error('refused'), false],
])('a coordinator %s', async (_, error, again) => {
  expect(await joinsAgain('m', () => Promise.reject(error))).toBe(again);
});

test('a member that the broker does not know joins the group again before it reads', async () => {
  expect(await joinsAgain(null, async () => {})).toBe(true);
});

test('a member commits its offsets to a new coordinator once that has loaded the group', async () => {
  const commits: string[] = [];
  const broker = (name: string, refusal?: string) => ({
    isConnected: () => true,
    heartbeat: async () => {},
    joinGroup: () => Promise.reject(Object.assign(new Error('loading'), { type: 'GROUP_LOAD_IN_PROGRESS' })),
    async offsetCommit() {
      commits.push(name);
      if (refusal) throw Object.assign(new Error(refusal), { type: refusal });
    },
  });
  const cluster = { findGroupCoordinator: async () => broker('new'), refreshMetadata: async () => {} };
  const instrumentationEmitter = { emit() {} };
  const coordinator = broker('old', 'NOT_COORDINATOR_FOR_GROUP');
  const offsetManager = new OffsetManager({
    cluster,
    coordinator,
    instrumentationEmitter,
    memberAssignment: { t: [0] },
  });
  const group = fakeMember({
    memberId: 'm',
    lastRequest: 0,
    cluster,
    coordinator,
    offsetManager,
    assigners: [],
  });

  await expect(group.joinAndSync()).rejects.toThrow('loading');
  await group.heartbeat({ interval: 0 });
  await offsetManager.commitOffsets({
    topics: [{ topic: 't', partitions: [{ partition: 0, offset: '7' }] }],
  });
  expect(commits).toEqual(['new']);
});

test('for an offset that a follower lacks, the leader is asked before the partition is read again', async () => {
  const resets: object[] = [];
  const told: unknown[] = [];
  const events: unknown[] = [];
  const group = fakeMember({
    instrumentationEmitter: { emit: (event: string, payload: object) => void events.push([event, payload]) },
    logger: {
      info() {},
      error: (message: string, { records }: { records?: number }) => told.push([message, records]),
    },
    cluster: {
      fetchTopicsOffset: async () => [{ topic: 't', partitions: [{ partition: 3, offset: '30' }] }],
    },
    preferredReadReplicasPerTopicPartition: { t: { 3: { nodeId: 2, expireAt: Number.POSITIVE_INFINITY } } },
    offsetManager: {
      nextOffset: () => ({ toString: () => '12' }),
      setDefaultOffset: async (partition: object) => void resets.push(partition),
    },
  });
  const outOfRange = { topic: 't', partition: 3 };
  await group.recoverFromOffsetOutOfRange(outOfRange);
  expect([resets, told, group.preferredReadReplicasPerTopicPartition]).toEqual([[], [], { t: {} }]);
  await group.recoverFromOffsetOutOfRange(outOfRange);
  expect(resets).toEqual([outOfRange]);
  expect(told).toContainEqual(['records were deleted before they were read', 18]);
  expect(events).toEqual([]);
  group.cluster.fetchTopicsOffset = () => Promise.reject(new Error('the leader has gone'));
  await group.recoverFromOffsetOutOfRange(outOfRange);
  expect(resets).toEqual([outOfRange, outOfRange]);
  // Created again, or cut by an unclean election: the oldest offset is below the one that was wanted.
  group.cluster.fetchTopicsOffset = async () => [{ topic: 't', partitions: [{ partition: 3, offset: '0' }] }];
  await group.recoverFromOffsetOutOfRange(outOfRange);
  const commit = { topics: [{ topic: 't', partitions: [{ partition: 3, offset: '-2' }] }] };
  expect(events).toEqual([['consumer.commit_offsets', commit]]);
});

test('a partition whose follower has disappeared is read from its leader at once', () => {
  const partition = { partitionErrorCode: 0, leader: 1, replicas: [1, 2], isr: [1], offlineReplicas: [2] };
  const group = fakeMember({
    logger: { debug() {} },
    cluster: {
      findTopicPartitionMetadata: () => [
        { ...partition, partitionId: 0 },
        { ...partition, partitionId: 1, offlineReplicas: [] },
      ],
    },
    preferredReadReplicasPerTopicPartition: {
      t: { 0: { nodeId: 2, expireAt: Infinity }, 1: { nodeId: 2, expireAt: Infinity } },
    },
  });
  expect(group.findReadReplicaForPartitions('t', [0, 1])).toEqual({ 1: [0], 2: [1] });
});

/** Whether a heartbeat of a member of this id makes kafkajs join the group again. */
async function joinsAgain(memberId: string | null, heartbeat: () => Promise<void>): Promise<boolean> {
  const group = fakeMember({ memberId, lastRequest: 0, coordinator: { heartbeat } });
  const failure = await group.heartbeat({ interval: 0 }).then(
    () => undefined,
    (error) => error,
  );
  return failure !== undefined && isRebalancing(failure);
}
