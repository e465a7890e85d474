import BrokerPool from 'kafkajs/src/cluster/brokerPool.js';

/**
 * kafkajs 2.2.4 calls a broker by another's id when one went away while it asked for metadata: it notes who the seed broker
 * is before, and names whoever is the seed broker after (`refreshMetadata`, `removeBroker`). From then on its producer sends
 * that broker an empty request for every partition that it leads, and resolves: what was to be sent is lost, until the
 * process ends. Here a broker that is looked up bears the id that it was looked up by.
 */
export function nameBrokersRightly(): void {
  const { findBroker } = BrokerPool.prototype;
  BrokerPool.prototype.findBroker = async function ({ nodeId }) {
    const broker = await findBroker.call(this, { nodeId });
    broker.nodeId = Number(nodeId);
    return broker;
  };
}
