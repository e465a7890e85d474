import { decodeSeenFrame, idOf, type MSKEvent } from '@video-pipeline/frame';
import {
  decodeRecords,
  type FailureDependencies,
  lazyHandler,
  putAllFailed,
  readValue,
} from '@video-pipeline/functions/records';
import { fetchOnce } from '@video-pipeline/outbound';
import { createPutFailed, createStore, inParallel } from '@video-pipeline/storage';
import { createLogger, emitMetrics } from '@video-pipeline/telemetry';

const TIMEOUT_MS = 10_000;
const POSTS_IN_WORK = 16;
/** Answers to a body that no retry can help. */
const REFUSED = [400, 413, 422];

/** A sink: posts each frame in which people are to `url`, as JSON. */
export function createPostPeople({ url, ...dependencies }: FailureDependencies & { url: string }) {
  return async (event: MSKEvent): Promise<void> => {
    const { received, failures } = decodeRecords(event, decodeSeenFrame);
    // One after another, slow answers to a batch would take longer than its function may.
    await inParallel(received, POSTS_IN_WORK, async ({ record, frame }) => {
      const people = frame.detections.filter(({ class_name }) => class_name === 'person').length;
      if (people === 0) return;
      // A frame may come twice: the receiver knows it by its id.
      const body = JSON.stringify({ id: idOf(frame), captured_at: frame.capturedAt, people });
      const reason = await post(url, body);
      if (reason) failures.push({ record, code: 'RECEIVER_REFUSED', reason });
      else emitMetrics('post', frame.streamId, { FramesDelivered: 1 });
    });
    await putAllFailed('post', failures, dependencies);
  };
}

/**
 * @returns undefined once the receiver has accepted the body, or the reason why it never will
 * @throws while the receiver is away, or busy: the batch is delivered again, and later ones wait for it
 */
async function post(url: string, body: string): Promise<string | undefined> {
  const headers = { 'content-type': 'application/json' };
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const answer = await fetchOnce(url, { method: 'POST', headers, body, signal });
  await answer.body?.cancel();
  if (answer.ok) return undefined;
  const reason = `the receiver of people answered ${answer.status}`;
  if (REFUSED.includes(answer.status)) return reason;
  throw new Error(reason);
}

/** The handler as Lambda, and `npm start`, run it. */
export const handler = lazyHandler(async () =>
  createPostPeople({
    url: await readValue('PEOPLE_URL'),
    putFailed: createPutFailed(createStore(), 'post'),
    logger: createLogger('post'),
  }),
);
