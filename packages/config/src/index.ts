export * from './config.ts';
export { variables } from './variables.ts';
