export * from './guarded.ts';
export * from './java.ts';
export * from './kafka.ts';
export * from './s3proxy.ts';
