// Apart from the package's other half, so that who only looks at headers needs no native code.
export * from './decode.ts';
export * from './encode.ts';
export * from './memory.ts';
