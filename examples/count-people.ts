import { decodeSeenFrame, idOf, type MSKEvent } from '@video-pipeline/frame';
import { decodeRecords, type FailureDependencies, putAllFailed } from '@video-pipeline/functions/records';
import { createPutFailed, createStore, type Store } from '@video-pipeline/storage';
import { createLogger } from '@video-pipeline/telemetry';

/** Stores how many people were in each frame of a batch: `people/<topic>-<partition>-<first offset>.json`. */
export function createCountPeople({ store, ...dependencies }: FailureDependencies & { store: Store }) {
  return async (event: MSKEvent): Promise<void> => {
    const { received, failures } = decodeRecords(event, decodeSeenFrame);
    const counts = received.map(({ frame }) => ({
      id: idOf(frame),
      captured_at: frame.capturedAt,
      people: frame.detections.filter(({ class_name }) => class_name === 'person').length,
    }));
    // The same batch has the same key: a second delivery overwrites the object. A batch that is cut elsewhere then has
    // another key, and a frame may be in two objects: readers take one for each `id`.
    const first = received[0]?.record;
    const key = `people/${first?.topic}-${first?.partition}-${first?.offset}.json`;
    // What the store throws is thrown: the batch is delivered again.
    if (first) await store.put({ key, body: JSON.stringify(counts), contentType: 'application/json' });
    // Records that are no frames would fail at every retry: they go into `failed/people/`.
    await putAllFailed('people', failures, dependencies);
  };
}

const store = createStore();

/** The handler as Lambda, and `npm start`, run it. */
export const handler = createCountPeople({
  store,
  putFailed: createPutFailed(store, 'people'),
  logger: createLogger('people'),
});
