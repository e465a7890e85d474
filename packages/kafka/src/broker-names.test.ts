import BrokerPool from 'kafkajs/src/cluster/brokerPool.js';
import { expect, test } from 'vitest';
import './connect.ts';

const logger = { namespace: () => logger, debug() {}, info() {}, warn() {}, error() {} };

function brokerAt(port: number, nodeId: number | null) {
  const connectionPool = { host: 'kafka', port, rack: null, connectionTimeout: 1000 };
  return { connectionPool, nodeId, isConnected: () => true, disconnect: async () => {} };
}

test('a broker keeps its id when the seed broker disconnects during a metadata request', async () => {
  const metadata = {
    brokers: [1, 2].map((nodeId) => ({ nodeId, host: 'kafka', port: nodeId, rack: null })),
    topicMetadata: [],
  };
  const pool = new BrokerPool({
    connectionPoolBuilder: {
      build: async ({ port }: { port: number }) => brokerAt(port, null).connectionPool,
    },
    logger,
    retry: {},
  });
  const asked = { ...brokerAt(2, 2), metadata: async () => metadata };
  pool.seedBroker = brokerAt(1, 1);
  pool.brokers = { 2: asked };
  // The seed broker, 1, is removed from the pool before the answer comes. Broker 2 becomes the seed broker.
  asked.metadata = async () => {
    pool.seedBroker = asked;
    return metadata;
  };
  await pool.refreshMetadata([]);
  expect(String((await pool.findBroker({ nodeId: '2' })).nodeId)).toBe('2');
});
