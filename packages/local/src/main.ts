import { keepCompiled } from '@video-pipeline/assets/cache';
import { exitWithError } from '@video-pipeline/lifecycle';

await keepCompiled();
await import('./start.ts').catch(exitWithError);
