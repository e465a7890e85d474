import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';

/**
 * kafkajs 2.2.4 looks for waiting requests after `throttledUntil - now` milliseconds: a negative time where nothing is
 * throttled, which Node warns about and takes as 1 ms, so that every idle connection wakes up a thousand times a second.
 * Where nothing waits there is nothing to look for: a request that has to wait schedules the look itself.
 */
export function calmIdleConnections(): void {
  const schedule = RequestQueue.prototype.scheduleCheckPendingRequests;
  RequestQueue.prototype.scheduleCheckPendingRequests = function () {
    if (this.pending.length > 0) schedule.call(this);
  };
}
