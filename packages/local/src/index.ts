export * from './java.ts';
export * from './kafka.ts';
export * from './processes.ts';
export * from './s3proxy.ts';
