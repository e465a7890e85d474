export * from './header.ts';
export * from './picture-error.ts';
