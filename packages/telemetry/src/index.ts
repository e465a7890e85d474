export * from './emf.ts';
export * from './logger.ts';
