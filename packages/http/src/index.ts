export * from './http-error.ts';
export * from './json.ts';
export * from './metrics.ts';
export * from './origin.ts';
export * from './server.ts';
