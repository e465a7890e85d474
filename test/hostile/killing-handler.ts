import type { Handler } from '@video-pipeline/event-source';
import { recordsOf } from '@video-pipeline/frame';

/** Ends its process at once for a record with a mark, as a lack of memory or an error in native code does. */
export const handler: Handler = (event) => {
  for (const { value } of recordsOf(event)) {
    if (Buffer.from(value, 'base64').toString() === 'kill') process.kill(process.pid, 'SIGKILL');
  }
};
