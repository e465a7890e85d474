export * from './config.ts';
export * from './streams-text.ts';
export { variables } from './variables.ts';
