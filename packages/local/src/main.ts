import { keepCompiled } from '@video-pipeline/assets/cache';

await keepCompiled();
await import('./start.ts');
