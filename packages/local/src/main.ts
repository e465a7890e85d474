import { enableCompileCache } from 'node:module';
import { compileCacheDir } from '@video-pipeline/assets/cache';

// Before all else is loaded: it takes half the processor time then, and everything waits for it.
enableCompileCache(compileCacheDir());
await import('./start.ts');
