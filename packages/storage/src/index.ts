export * from './quarantine.ts';
export * from './store.ts';
