// kafkajs declares no types for its inner modules.
declare module 'kafkajs/src/network/requestQueue/index.js' {
  export default class RequestQueue {
    pending: unknown[];
    throttledUntil: number;
    constructor(options: { requestTimeout: number; clientId: string; broker: string; logger: unknown });
    scheduleCheckPendingRequests(): void;
  }
}
