import { decodeSeenFrame, fromLambdaRecord, type MSKEvent, recordsOf } from '@video-pipeline/frame';
import { createStore, type Store } from '@video-pipeline/storage';

/** Stores how many people were in each frame of a batch: `people/<topic>-<partition>-<first offset>.json`. */
export function createCountPeople(store: Store) {
  return async (event: MSKEvent): Promise<void> => {
    const records = recordsOf(event);
    const frames = records.flatMap((record) => {
      try {
        return [decodeSeenFrame(fromLambdaRecord(record))];
      } catch {
        return []; // Annotate puts it into failed/: once is enough.
      }
    });
    const [first] = records;
    if (!first || frames.length === 0) return;
    const counts = frames.map(({ streamId, capturedAt, detections }) => ({
      stream_id: streamId,
      captured_at: capturedAt,
      people: detections.filter(({ class_name }) => class_name === 'person').length,
    }));
    // The same batch has the same key, so that a second delivery overwrites the first. What the store throws is thrown:
    // the batch is delivered again.
    const key = `people/${first.topic}-${first.partition}-${first.offset}.json`;
    await store.put({ key, body: JSON.stringify(counts), contentType: 'application/json' });
  };
}

/** The handler as Lambda, and `npm start`, run it. */
export const handler = createCountPeople(createStore());
