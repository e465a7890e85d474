import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';

/**
 * kafkajs 2.2.4 checks for waiting requests after `throttledUntil - now` milliseconds. That time is negative where
 * nothing is throttled: Node warns about it and takes it for 1 ms, so that every idle connection wakes up a thousand
 * times a second. Here this check is scheduled only while a request waits. A request that has to wait schedules it.
 */
export function stopIdleWakeUps(): void {
  const schedule = RequestQueue.prototype.scheduleCheckPendingRequests;
  RequestQueue.prototype.scheduleCheckPendingRequests = function () {
    if (this.pending.length > 0) schedule.call(this);
  };
}
