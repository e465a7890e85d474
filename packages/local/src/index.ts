export * from './credentials.ts';
export * from './java.ts';
export * from './kafka.ts';
export * from './processes.ts';
export * from './s3proxy.ts';
