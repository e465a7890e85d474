import type { Detection } from '@video-pipeline/frame';
import { Batcher } from './batcher.ts';
import { FairQueue } from './fair-queue.ts';
import type { Candidate } from './heads/index.ts';
import type { InferencePool } from './inference-pool.ts';
import { letterbox, toPicture } from './letterbox.ts';
import type { ModelFile } from './model-file.ts';
import {
  type DecodeOptions,
  decodePicture,
  frameBytes,
  layOut,
  type Picture,
  PictureError,
} from './picture.ts';

/** What was seen in one picture, or why nothing could be. `width` and `height` in pixels. */
export type PictureResult = { width: number; height: number; detections: Detection[] } | { error: string };

export interface DetectRequest {
  pictures: readonly Uint8Array[];
  /** 0..1 */
  threshold: number;
  /** Who asks: clients are served in turn. */
  client: string;
  /** Ends the request: pictures that are not begun then never are. */
  signal: AbortSignal;
}

export interface DetectorOptions extends Pick<DecodeOptions, 'maxPixels' | 'resize'> {
  model: ModelFile;
  pool: InferencePool;
  /** Where the pool's threads run the model. */
  device: string;
  /** Why it is not where it should be, in one line. */
  fallback?: string;
  /** By class name, thresholds that take the place of the request's, 0..1. */
  classThresholds: ReadonlyMap<string, number>;
  /** Preferred numbers of pictures that the runtime gets at once, ascending; the largest is the most. */
  batchSizes: readonly number[];
  /** Longest wait for a batch to fill, milliseconds. */
  batchDelayMs: number;
  /** Most pictures that wait; a request that would exceed it is refused. */
  maxQueue: number;
  /** Called after each step of each picture. */
  observe(step: 'queue' | 'picture' | 'batch' | 'inference' | 'head', seconds: number): void;
  /** Called with the size of each batch. */
  observeBatch(size: number): void;
}

/** More pictures wait than the queue may hold; try again later. */
export class OverloadedError extends Error {
  override readonly name = 'OverloadedError';
}

interface Job {
  bytes: Uint8Array;
  request: DetectRequest;
  since: number;
  result: PromiseWithResolvers<PictureResult>;
}

interface Prepared {
  picture: Picture;
  threshold: number;
}

/** From encoded pictures to detections: decodes the next pictures while the runtime works on those before. */
export class Detector {
  readonly model: ModelFile;
  readonly #options: DetectorOptions;
  readonly #batcher: Batcher<Prepared, Candidate[]>;
  readonly #queue = new FairQueue<Job>();
  readonly #maxInFlight: number;
  readonly #place = (width: number, height: number) =>
    letterbox(width, height, this.model.inputSize, this.model.fit);
  /** Memory for batches, given back by the runtime. */
  #free: Uint8Array[] = [];
  #inFlight = 0;
  /** Resolved when the last picture is done; a new one when work begins again. */
  #idle = Promise.withResolvers<void>();

  constructor(options: DetectorOptions) {
    this.model = options.model;
    this.#options = options;
    // Two batches a thread: it takes the second at once, without waiting for this thread to notice.
    const concurrency = 2 * options.pool.size;
    this.#maxInFlight = (concurrency + 1) * Math.max(...options.batchSizes) + 1;
    this.#batcher = new Batcher({
      sizes: options.batchSizes,
      maxDelayMs: options.batchDelayMs,
      concurrency,
      keyOf: ({ picture: { box } }) => `${box.inputWidth}x${box.inputHeight}`,
      run: (items) => this.#infer(items),
    });
  }

  /** Pictures that wait to be begun. */
  get queued(): number {
    return this.#queue.size;
  }

  /**
   * @returns one result a picture, in their order
   * @throws OverloadedError when too many wait already, `signal.reason` once the signal ends the request,
   *   InferenceError when the runtime fails
   */
  async detect(request: DetectRequest): Promise<PictureResult[]> {
    request.signal.throwIfAborted();
    if (this.#queue.size + request.pictures.length > this.#options.maxQueue) {
      throw new OverloadedError(
        `${this.#queue.size} pictures wait already and the queue holds ${this.#options.maxQueue}`,
      );
    }
    const since = performance.now();
    const results = request.pictures.map((bytes) => {
      const result = Promise.withResolvers<PictureResult>();
      this.#queue.push(request.client, { bytes, request, since, result });
      return result.promise;
    });
    this.#startNext();
    return Promise.race([Promise.all(results), whenAborted(request.signal)]);
  }

  /**
   * Has every thread run the model once with one picture and once with each preferred number of them: a GPU's runtime
   * prepares itself for each shape (TensorRT for all between the smallest and the largest) when it first sees it.
   * @throws InferenceError when it can't
   */
  async warmUp(): Promise<void> {
    const smallest = this.model.batchSize ?? 1;
    for (const size of new Set([smallest, ...this.#options.batchSizes])) await this.#warmUpFor(size);
  }

  async #warmUpFor(size: number): Promise<void> {
    const box = this.#place(16, 9);
    await Promise.all(
      Array.from({ length: this.#options.pool.size }, () =>
        this.#options.pool.run({
          frames: new Uint8Array(size * frameBytes(box)),
          dims: [size, box.inputHeight, box.inputWidth, 3],
          thresholds: [1],
        }),
      ),
    );
  }

  get isHealthy(): boolean {
    return this.#options.pool.isHealthy;
  }

  /** Where the model runs. */
  get device(): string {
    return this.#options.device;
  }

  /** Why it runs on the CPU though a GPU would have been taken, in one line. */
  get fallback(): string | undefined {
    return this.#options.fallback;
  }

  /** Waits until no picture is left, then ends the threads. */
  async close(): Promise<void> {
    if (this.#inFlight > 0) await this.#idle.promise;
    await this.#options.pool.close();
  }

  #startNext(): void {
    while (this.#inFlight < this.#maxInFlight) {
      const job = this.#queue.shift();
      if (!job) return;
      if (job.request.signal.aborted) {
        job.result.reject(job.request.signal.reason);
        continue;
      }
      this.#observe('queue', job.since);
      if (this.#inFlight++ === 0) this.#idle = Promise.withResolvers();
      this.#work(job)
        .then(job.result.resolve, job.result.reject)
        .finally(() => {
          this.#inFlight--;
          this.#startNext();
          if (this.#inFlight === 0) this.#idle.resolve();
        });
    }
  }

  async #work({ bytes, request }: Job): Promise<PictureResult> {
    const started = performance.now();
    let picture: Picture;
    try {
      picture = await decodePicture(bytes, { ...this.#options, place: this.#place });
    } catch (error) {
      if (error instanceof PictureError) return { error: error.message };
      throw error;
    }
    const decoded = this.#observe('picture', started);
    request.signal.throwIfAborted();
    const { classThresholds } = this.#options;
    const threshold = Math.min(request.threshold, ...classThresholds.values());
    const candidates = await this.#batcher.add({ picture, threshold });
    this.#observe('batch', decoded);
    const detections = candidates
      .filter(
        ({ classId, score }) => score >= (classThresholds.get(this.#nameOf(classId)) ?? request.threshold),
      )
      .map((candidate) => this.#toDetection(candidate, picture));
    return { width: picture.width, height: picture.height, detections };
  }

  async #infer(items: Prepared[]): Promise<Candidate[][]> {
    const [first] = items;
    if (!first) return [];
    const { box } = first.picture;
    // A model fixed to a batch size gets its full batch; what lies in the rest does not matter.
    const size = this.model.batchSize ?? items.length;
    const frames = this.#takeFrames(size * frameBytes(box));
    layOut(
      items.map(({ picture }) => picture),
      frames,
    );
    const result = await this.#options.pool.run({
      frames,
      dims: [size, box.inputHeight, box.inputWidth, 3],
      thresholds: items.map(({ threshold }) => threshold),
    });
    this.#free.push(result.frames);
    this.#options.observeBatch(items.length);
    this.#options.observe('inference', result.milliseconds.inference / 1000);
    this.#options.observe('head', result.milliseconds.decoding / 1000);
    return result.candidates;
  }

  #takeFrames(bytes: number): Uint8Array {
    const free = this.#free.pop();
    // One of another size is left to the garbage collector: cameras rarely change theirs.
    return free && free.length >= bytes ? free : new Uint8Array(bytes);
  }

  #toDetection({ classId, score, box }: Candidate, picture: Picture): Detection {
    const bbox = toPicture(box, picture.box, picture.width, picture.height);
    return {
      class_id: classId,
      class_name: this.#nameOf(classId),
      confidence: round(score, 4),
      bbox: bbox.map((side) => round(side, 2)) as Detection['bbox'],
    };
  }

  #nameOf(classId: number): string {
    return this.model.classNames[classId] ?? `class ${classId}`;
  }

  #observe(step: 'queue' | 'picture' | 'batch', since: number): number {
    const now = performance.now();
    this.#options.observe(step, (now - since) / 1000);
    return now;
  }
}

/** Rejects once `signal` is aborted. */
function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
