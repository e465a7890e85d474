import kafkajs from 'kafkajs';
import Cluster from 'kafkajs/src/cluster/index.js';
import { createErrorFromCode } from 'kafkajs/src/protocol/error.js';
import { expect, test } from 'vitest';
import './connect.ts';

const NOT_LEADER = 6;
const UNKNOWN_SERVER_ERROR = -1;

/** A cluster whose broker answers with a code until its metadata are fetched again. */
function clusterThat(code: number) {
  let isFresh = false;
  return Object.assign(Object.create(Cluster.prototype) as typeof Cluster.prototype, {
    findLeaderForPartitions: () => ({ 1: [0] }),
    findBroker: async () => ({
      listOffsets: async () => {
        if (!isFresh) throw createErrorFromCode(code);
        return { responses: [{ topic: 't', partitions: [{ partition: 0, offset: '7' }] }] };
      },
    }),
    refreshMetadata: async () => {
      isFresh = true;
    },
  });
}

const ASKED = [{ topic: 't', partitions: [{ partition: 0 }], fromBeginning: false }];

test('offsets of a partition whose leader moved are requested from the new leader', async () => {
  expect(await clusterThat(NOT_LEADER).fetchTopicsOffset(ASKED)).toEqual([
    { topic: 't', partitions: [{ partition: 0, offset: '7' }] },
  ]);
});

test('any other error of the broker is thrown at once', async () => {
  await expect(clusterThat(UNKNOWN_SERVER_ERROR).fetchTopicsOffset(ASKED)).rejects.toThrow(
    kafkajs.KafkaJSProtocolError,
  );
});
