export * from './stage.ts';
export * from './stages.ts';
