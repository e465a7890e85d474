export * from './connect.ts';
export * from './lag.ts';
export * from './topics.ts';
