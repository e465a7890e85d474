import ConsumerGroup from 'kafkajs/src/consumer/consumerGroup.js';
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';

/** Longer than any broker asks its clients to wait: a minute and more is the doing of a clock. */
const MAX_THROTTLE_MS = 60_000;

/**
 * kafkajs 2.2.4 counts on a clock that never goes back. Set back by an hour, a consumer sends no heartbeats for an hour,
 * and is put out of its group again and again; and a client that a broker once asked to wait sends nothing for an hour.
 * A time that lies ahead is taken for what it is: of another clock.
 */
export function bearClockChanges(): void {
  const { heartbeat } = ConsumerGroup.prototype;
  ConsumerGroup.prototype.heartbeat = function (options) {
    if (this.lastRequest > Date.now()) this.lastRequest = 0;
    return heartbeat.call(this, options);
  };
  const { canSendSocketRequestImmediately } = RequestQueue.prototype;
  RequestQueue.prototype.canSendSocketRequestImmediately = function () {
    if (this.throttledUntil - Date.now() > MAX_THROTTLE_MS) this.throttledUntil = -1;
    return canSendSocketRequestImmediately.call(this);
  };
}
