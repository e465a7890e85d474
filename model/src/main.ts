import { compileCacheDir, keepCompiled } from '@video-pipeline/assets/cache';

// Runs before all other modules: they then load in half the time and with less memory. Threads read the variable.
process.env.NODE_COMPILE_CACHE ??= compileCacheDir();
await keepCompiled(process.env.NODE_COMPILE_CACHE);
await import('./command.ts');
