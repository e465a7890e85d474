import { exitWithError, toldToBegin } from '@video-pipeline/lifecycle';
import { runIngest } from './run.ts';

await toldToBegin();
await runIngest().catch(exitWithError);
