import { enableCompileCache } from 'node:module';
import { compileCacheDir } from '@video-pipeline/assets/cache';

// Before all other modules are loaded: their loading then takes half the processor time, and every start waits for it.
enableCompileCache(compileCacheDir());
await import('./start.ts');
