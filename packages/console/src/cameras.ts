import type { CameraStatus } from './api.ts';

const TIMEOUT_MS = 3_000;
/** Of an ingest host with a thousand cameras. */
const MAX_BYTES = 2_000_000;

/** What ingest says of one stream, as far as it is shown. */
interface IngestStream {
  state?: unknown;
  lastError?: unknown;
  thinnedTo?: unknown;
}

/** How the cameras are, as ingest says at `/health`. */
export class Cameras {
  readonly #url: URL | undefined;
  #states: ReadonlyMap<string, CameraStatus> = new Map();

  /** @param url base address of the ingest host; left out: nobody is asked */
  constructor(url: string | undefined) {
    this.#url = url === undefined ? undefined : new URL('health', url.endsWith('/') ? url : `${url}/`);
  }

  get isKnown(): boolean {
    return this.#url !== undefined;
  }

  /** What was last heard of a stream; `undefined` when ingest knows nothing of it, or does not answer. */
  of(streamId: string): CameraStatus | undefined {
    return this.#states.get(streamId);
  }

  /** Asks anew. @throws Error where it gives no answer */
  async sample(): Promise<undefined> {
    if (!this.#url) return;
    try {
      // 503 means that no camera sends: the body says why.
      const answer = await fetch(this.#url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
      const text = await textOf(answer);
      const { streams } = JSON.parse(text) as { streams?: Record<string, IngestStream> };
      this.#states = new Map(Object.entries(Object(streams)).map(([id, one]) => [id, statusOf(Object(one))]));
    } catch (error) {
      this.#states = new Map();
      throw error;
    }
  }
}

/** @throws once it has more than {@link MAX_BYTES} */
async function textOf({ body }: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_BYTES) throw new Error(`its answer has over ${MAX_BYTES} characters`);
  }
  return text;
}

function statusOf({ state, lastError, thinnedTo }: IngestStream): CameraStatus {
  return {
    state: String(state),
    ...(typeof lastError === 'string' ? { error: lastError } : {}),
    ...(typeof thinnedTo === 'number' ? { thinned: true } : {}),
  };
}
