import BrokerPool from 'kafkajs/src/cluster/brokerPool.js';
import ConsumerGroup from 'kafkajs/src/consumer/consumerGroup.js';
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';
import SocketRequest from 'kafkajs/src/network/requestQueue/socketRequest.js';

/**
 * kafkajs 2.2.4 stores when something happened, or is due, by the clock of the host, and compares that time later. When
 * the clock is set back by an hour, four things fail for an hour: metadata do not expire, so that new partitions are
 * not read; no heartbeat is sent; no request times out; and nothing is sent to a broker that once asked to wait. Here
 * the stored times move along with the clock.
 */
export function surviveClockChanges(): void {
  followClock(BrokerPool.prototype, 'metadataExpireAt');
  followClock(ConsumerGroup.prototype, 'lastRequest');
  followClock(RequestQueue.prototype, 'throttledUntil');
  followClock(SocketRequest.prototype, 'sentAt');
}

/** Makes a property of epoch milliseconds keep its distance from now, even when the host's clock is set. */
function followClock<Owner extends object>(prototype: Owner, property: keyof Owner): void {
  const noted = new WeakMap<object, number | null>();
  const sinceStart = () => Date.now() - performance.now();
  Object.defineProperty(prototype, property, {
    get(this: object) {
      const time = noted.get(this);
      return typeof time === 'number' ? Math.round(time + sinceStart()) : time;
    },
    set(this: object, time: number | null) {
      noted.set(this, typeof time === 'number' ? time - sinceStart() : time);
    },
  });
}
