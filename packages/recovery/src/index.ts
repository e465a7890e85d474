export * from './audit.ts';
export * from './failed.ts';
export * from './read-topic.ts';
export * from './replay.ts';
