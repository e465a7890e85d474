// Only this package imports kafkajs. The others take its types from here.
export type {
  Admin,
  Consumer,
  ConsumerCommitOffsetsEvent,
  ConsumerGroupJoinEvent,
  EachBatchPayload,
  Message,
} from 'kafkajs';
export * from './admin.ts';
export * from './connect.ts';
export { MAX_BATCH_BYTES, MAX_EVENT_BYTES, type Refusal, refusalOf } from './fetch/index.ts';
export * from './lag.ts';
export { noteFormerMember } from './membership.ts';
export * from './producer.ts';
export { ownRack } from './rack.ts';
export * from './tail.ts';
export * from './topics.ts';
