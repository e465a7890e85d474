// Separate from the package's main export, so that code that only reads headers needs no native code.
export * from './decode.ts';
export * from './encode.ts';
export * from './memory.ts';
