export type { Handler, HandlerContext } from './delivery.ts';
export * from './event-source.ts';
export * from './on-failure.ts';
