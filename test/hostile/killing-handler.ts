import type { Handler } from '@video-pipeline/event-source';
import { recordsOf } from '@video-pipeline/frame';

/** Ends its process at once, as a lack of memory or a fault in native code does, where a record says so. */
export const handler: Handler = (event) => {
  for (const { value } of recordsOf(event)) {
    if (Buffer.from(value, 'base64').toString() === 'kill') process.kill(process.pid, 'SIGKILL');
  }
};
