export * from './failures.ts';
export * from './pictures.ts';
export * from './quarantine.ts';
export * from './reader.ts';
export * from './store.ts';
