// The package's `main` is CommonJS and its `module` has no default export: only this file can be imported in the same
// way in Node and in bundlers.
declare module 'opentype.js/dist/opentype.mjs' {
  export * from 'opentype.js';
}
