import type { DetectedFrame } from '@video-pipeline/frame';
import { inParallel, type Part, type Store, type StoredObject } from '@video-pipeline/storage';
import { asSpan, type Logger, sharedSpan } from '@video-pipeline/telemetry';
import { FRAMES_IN_WORK } from './frames-in-work.ts';
import { type Packable, type PackedForm, packs } from './pack.ts';

/** An annotated picture, and the key that it has as an object of its own. */
export interface Picture {
  frame: DetectedFrame;
  key: string;
  jpeg: Buffer;
}

/** Writes a picture as an object of its own. */
export function putPicture(store: Store, { frame, key, jpeg: body }: Picture): Promise<void> {
  return store.put({ key, body, contentType: 'image/jpeg', metadata: metadataOf(frame) });
}

function metadataOf({ streamId, frameNumber, session, capturedAt }: DetectedFrame): Record<string, string> {
  return {
    stream_id: streamId,
    frame_number: String(frameNumber),
    session,
    captured_at: String(capturedAt),
  };
}

/** For each frame's key: the object that holds its picture, and the part of it. The NDJSON lines carry this. */
export type Places = ReadonlyMap<string, Partial<Record<PackedForm, Part & { key: string }>>>;

/** Writes the pictures of one stream in the batch as few objects. */
export async function putPacks(
  form: PackedForm,
  pictures: readonly (Picture & Packable)[],
  to: {
    store: Store;
    prefix: string;
    storageClass?: StoredObject['storageClass'];
    logger: Pick<Logger, 'warn'>;
  },
): Promise<Places> {
  const { store, prefix, storageClass, logger } = to;
  const places = new Map();
  for await (const packed of packs(form, prefix, pictures)) {
    const { items } = packed;
    const span = sharedSpan(items.map(({ frame }) => frame));
    if ('object' in packed) {
      const { object, parts } = packed;
      await asSpan('annotate', 's3.put', span, () => store.put({ ...object, storageClass }));
      for (const [i, part] of parts.entries())
        places.set(items[i]?.key, { [form]: { key: object.key, ...part } });
    } else {
      const { reason } = packed;
      logger.warn('pictures that make no video are stored each by itself', { reason, frames: items.length });
      await asSpan('annotate', 's3.put', span, () =>
        inParallel(items, FRAMES_IN_WORK, (one) => putPicture(store, one)),
      );
    }
  }
  return places;
}
