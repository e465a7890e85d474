export * from './emf.ts';
export * from './health.ts';
export * from './logger.ts';
export * from './low-rates.ts';
export * from './redact.ts';
export * from './tracing.ts';
