export * from './checkpoint.ts';
export * from './frame.ts';
export * from './hours.ts';
export * from './kafka-record.ts';
export * from './lambda-event.ts';
export * from './pictures.ts';
export * from './s3-keys.ts';
