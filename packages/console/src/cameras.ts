import { urlBelow } from '@video-pipeline/config';
import { getHttp } from '@video-pipeline/telemetry';
import type { CameraStatus } from './api.ts';

/** The fields of ingest's report on a stream that are shown. */
interface IngestStream {
  state?: unknown;
  lastError?: unknown;
  thinnedTo?: unknown;
}

/**
 * State of the cameras, by `/health` of ingest.
 * @param base base address of the ingest host; left out: no states are known
 */
export function watchCameras(base: string | undefined) {
  let states: ReadonlyMap<string, CameraStatus> = new Map();
  return {
    /** Last state of a camera; `undefined` when ingest does not know the stream, or does not answer. */
    of: (streamId: string) => states.get(streamId),
    /** Updates the states. @throws Error when ingest does not answer */
    sample: base === undefined ? undefined : sample.bind(undefined, urlBelow(base, 'health')),
  };

  async function sample(url: URL): Promise<undefined> {
    try {
      // 503 means that no camera sends. The body says why.
      const { text } = await getHttp(url);
      const { streams } = JSON.parse(text) as { streams?: Record<string, IngestStream> };
      states = new Map(Object.entries(Object(streams)).map(([id, one]) => [id, statusOf(Object(one))]));
    } catch (error) {
      states = new Map();
      throw error;
    }
  }
}

function statusOf({ state, lastError, thinnedTo }: IngestStream): CameraStatus {
  return {
    state: String(state),
    ...(typeof lastError === 'string' ? { error: lastError } : {}),
    ...(typeof thinnedTo === 'number' ? { thinned: true } : {}),
  };
}
