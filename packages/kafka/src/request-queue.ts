import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';

/**
 * kafkajs 2.2.4 checks for waiting requests after `throttledUntil - now` milliseconds. That time is negative where
 * nothing is throttled: Node warns about it and takes it as 1 ms, so that every idle connection wakes up a thousand
 * times a second. Here this check is scheduled only where a request waits. One that has to wait later schedules it.
 */
export function stopIdleWakeUps(): void {
  const schedule = RequestQueue.prototype.scheduleCheckPendingRequests;
  RequestQueue.prototype.scheduleCheckPendingRequests = function () {
    if (this.pending.length > 0) schedule.call(this);
  };
}
