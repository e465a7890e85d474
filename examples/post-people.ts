import { decodeSeenFrame, idOf, type MSKEvent } from '@video-pipeline/frame';
import { decodeRecords, type FailureDependencies, putAllFailed } from '@video-pipeline/functions/records';
import { fetchOnce } from '@video-pipeline/outbound';
import { createPutFailed, createStore } from '@video-pipeline/storage';
import { createLogger } from '@video-pipeline/telemetry';

const TIMEOUT_MS = 10_000;

/** A sink: posts the frames of a batch in which people are to `url`, as JSON. */
export function createPostPeople({ url, ...dependencies }: FailureDependencies & { url: string }) {
  return async (event: MSKEvent): Promise<void> => {
    const { received, failures } = decodeRecords(event, decodeSeenFrame);
    const frames = received.flatMap(({ frame }) => {
      const people = frame.detections.filter(({ class_name }) => class_name === 'person').length;
      // A batch may come twice: the receiver knows a frame by its id.
      return people > 0 ? [{ id: idOf(frame), captured_at: frame.capturedAt, people }] : [];
    });
    if (frames.length > 0) await post(url, JSON.stringify(frames));
    await putAllFailed('post', failures, dependencies);
  };
}

/** @throws where the receiver is away or does not accept it: the batch is delivered again, and later ones wait for it */
async function post(url: string, body: string): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const answer = await fetchOnce(url, { method: 'POST', headers, body, signal });
  await answer.body?.cancel();
  if (!answer.ok) throw new Error(`the receiver of people answered ${answer.status}`);
}

/** The handler as Lambda, and `npm start`, run it. */
export const handler = createPostPeople({
  url: process.env.PEOPLE_URL ?? 'http://localhost:3000/',
  putFailed: createPutFailed(createStore(), 'post'),
  logger: createLogger('post'),
});
