import { exitWithError, waitForParent } from '@video-pipeline/lifecycle';
import { runIngest } from './run.ts';

await waitForParent();
await runIngest().catch(exitWithError);
