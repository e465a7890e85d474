import { exitWithError } from '@video-pipeline/lifecycle';
import { runIngest } from './run.ts';

await runIngest().catch(exitWithError);
