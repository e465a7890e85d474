// The package's `main` is CommonJS and its `module` has no default export: this file alone reads the same in Node and
// in bundlers.
declare module 'opentype.js/dist/opentype.mjs' {
  export * from 'opentype.js';
}
