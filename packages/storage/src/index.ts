export * from './archive.ts';
export * from './failures.ts';
export * from './followed-text.ts';
export * from './pictures.ts';
export * from './put-failed.ts';
export * from './reader.ts';
export * from './s3-reader.ts';
export * from './store.ts';
