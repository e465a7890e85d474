export * from './api.ts';
export { openArchiveBucket } from './bucket.ts';
export * from './console.ts';
