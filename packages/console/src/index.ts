export * from './api.ts';
export * from './console.ts';
