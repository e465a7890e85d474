import BrokerPool from 'kafkajs/src/cluster/brokerPool.js';

/**
 * kafkajs 2.2.4 gives a broker the id of another one when a broker goes away during a metadata request. It notes the id
 * of the seed broker before the request, and gives that id to whichever broker is the seed broker afterwards
 * (`refreshMetadata`, `removeBroker`). From then on kafkajs' producer sends that broker an empty request for every
 * partition that it leads, and resolves. The records are lost, until the process ends. Here a broker that is looked up
 * has the id that it was looked up by.
 */
export function keepBrokerIds(): void {
  const { findBroker } = BrokerPool.prototype;
  BrokerPool.prototype.findBroker = async function ({ nodeId }) {
    const broker = await findBroker.call(this, { nodeId });
    broker.nodeId = Number(nodeId);
    return broker;
  };
}
