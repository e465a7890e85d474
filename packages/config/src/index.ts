export * from './config.ts';
export * from './source-url.ts';
export * from './streams-text.ts';
export { variables } from './variables.ts';
