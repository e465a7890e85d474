import type { Detection } from '@video-pipeline/frame';
import { PictureError, type PictureHeader, readPictureHeader } from '@video-pipeline/picture';
import { giveBack } from '@video-pipeline/picture/codec';
import { Batcher } from './batcher.ts';
import { createDecodingLanes, createLane, type DecodingLanes, type Lane } from './decoding-lanes.ts';
import type { DeviceUse } from './device-use.ts';
import type { Candidate, OutputTensor } from './heads/index.ts';
import type { Runtime, WorkerJob } from './inference-pool.ts';
import { InputSizes } from './input-sizes.ts';
import type { ModelFile } from './model-file.ts';
import {
  type DecodeOptions,
  decodePicture,
  frameBytes,
  layOut,
  type Picture,
  pictureError,
} from './picture.ts';
import { resizeLinear } from './resize.ts';
import { resizeInWorker } from './resize-pool.ts';
import { ServiceRate } from './service-rate.ts';
import type { Precision } from './session.ts';
import { toDetection } from './to-detection.ts';
import { untilAborted } from './until-aborted.ts';

/** The detections of one picture, or the reason why there are none. `width` and `height` in pixels. */
export type PictureResult = { width: number; height: number; detections: Detection[] } | { error: string };

interface DetectRequest {
  pictures: readonly Uint8Array[];
  /** 0..1 */
  threshold: number;
  /** Id of the client: clients are served in turn. */
  client: string;
  /** Ends the request. Its pictures that have not begun are dropped. */
  signal: AbortSignal;
}

/** Frames in the size of the model's input, for which the raw outputs are wanted. */
type TensorRequest = Pick<WorkerJob, 'dims' | 'frames'> & Pick<DetectRequest, 'client' | 'signal'>;

/** A model on its runtime, and what limits and observes its detector. */
export interface DetectorOptions extends Omit<DeviceUse, 'device' | 'pool'>, Pick<DecodeOptions, 'resize'> {
  model: ModelFile;
  pool: Runtime;
  device: string;
  /** Pictures with more pixels are refused before they are decoded. */
  maxPixels: number;
  /** Most pictures that may wait. A request that would exceed it is refused. */
  maxQueue: number;
  observe(step: 'queue' | 'picture' | 'batch' | 'inference' | 'head', seconds: number): void;
  observeBatch(size: number): void;
  /** Called with the number of pictures of a batch that may have had more candidates than the model's graph returns. */
  observeCut(pictures: number): void;
  /** Called when the runtime could not be made ready for another size of input. */
  onWarmUpError(error: Error): void;
}

/** More pictures wait than the queue may hold; try again later. */
export class OverloadedError extends Error {
  override readonly name = 'OverloadedError';
}

interface Job {
  bytes: Uint8Array;
  header: PictureHeader;
  request: DetectRequest;
  since: number;
  result: PromiseWithResolvers<PictureResult>;
}

interface Prepared {
  picture: Picture;
  threshold: number;
  signal: AbortSignal;
}

/** Turns encoded pictures into detections. It decodes the next pictures while the runtime processes the former ones. */
export class Detector {
  // As in the options.
  readonly model: ModelFile;
  readonly device: string;
  readonly precision: Precision;
  readonly fallback: string | undefined;
  readonly maxQueue: number;
  readonly inputSizes: InputSizes;
  readonly #options: DetectorOptions;
  readonly #batcher: Batcher<Prepared, Candidate[]>;
  readonly #lanes: DecodingLanes<Job>;
  /** Whether batches are padded to one of the preferred sizes, as each other size takes the runtime long. */
  readonly #isPadded: boolean;
  readonly #rate = new ServiceRate();
  /** Runs one request for raw outputs in each thread: a thread can't drop a request whose client has gone. */
  readonly #tensors: Lane<{ request: TensorRequest; result: PromiseWithResolvers<OutputTensor[]> }>;
  /** Memory of finished batches, for reuse. */
  #free: Uint8Array[] = [];

  constructor(options: DetectorOptions) {
    const { model, pool, batchSizes, tunesShapes } = options;
    this.model = model;
    this.device = options.device;
    this.precision = options.precision;
    this.fallback = options.fallback;
    this.maxQueue = options.maxQueue;
    this.#options = options;
    this.#isPadded = model.batchSize !== undefined || tunesShapes;
    this.inputSizes = new InputSizes({
      runtime: pool,
      inputSize: model.inputSize,
      fit: model.fit,
      // One also where batches are padded: clients with tensors send one.
      buckets: model.batchSize ? [model.batchSize] : [...new Set([1, ...batchSizes])],
      tunesShapes,
      onError: options.onWarmUpError,
    });
    // Two batches for each thread: it starts the second at once, without waiting for the main thread.
    const concurrency = 2 * pool.size;
    const places = (concurrency + 1) * Math.max(...batchSizes) + 1;
    this.#lanes = createDecodingLanes(places, (job) => this.#begin(job));
    this.#tensors = createLane(pool.size, ({ request: { frames, dims }, result }) =>
      pool.ask(frames, dims).then(result.resolve, result.reject),
    );
    this.#batcher = new Batcher({
      sizes: batchSizes,
      maxDelayMs: options.batchDelayMs,
      concurrency,
      isPadded: this.#isPadded,
      keyOf: ({ picture: { box } }) => `${box.inputWidth}x${box.inputHeight}`,
      endOf: ({ signal }) => (signal.aborted ? signal.reason : undefined),
      run: (items) => this.#infer(items),
    });
  }

  /** Pictures that wait and have not begun. */
  get queued(): number {
    const tensors = [...this.#tensors.waiting].reduce((sum, { request }) => sum + request.dims[0], 0);
    return this.#lanes.waiting + tensors;
  }

  /** Pictures a second, over the last seconds with work; `Infinity` before the first picture. */
  get framesPerSecond(): number {
    return this.#rate.perSecond;
  }

  /**
   * @returns one result a picture, in their order
   * @throws OverloadedError when too many pictures wait already, `signal.reason` once the signal ends the request,
   *   InferenceError when the runtime fails
   */
  async detect(request: DetectRequest): Promise<PictureResult[]> {
    const { pictures, client, signal } = request;
    signal.throwIfAborted();
    this.#checkRoom(pictures.length);
    const since = performance.now();
    const results = pictures.map((bytes) => {
      const result = Promise.withResolvers<PictureResult>();
      try {
        const { maxPixels } = this.#options;
        const header = readPictureHeader(bytes, { maxPixels, limit: 'MAX_FRAME_PIXELS' });
        this.#lanes.push(client, { bytes, header, request, since, result }, header.work);
      } catch (error) {
        result.resolve({ error: pictureError(error).message });
      }
      return result.promise;
    });
    return untilAborted(Promise.all(results), signal, () => {
      for (const { result } of this.#lanes.remove(client, (job) => job.request === request))
        result.reject(signal.reason);
    });
  }

  /**
   * Returns the model's raw output tensors.
   * @throws OverloadedError when too many pictures wait already, `signal.reason` once the signal ends the request,
   *   InferenceError when the runtime fails, also where its graph chooses candidates
   */
  async ask(request: TensorRequest): Promise<OutputTensor[]> {
    const { client, signal, dims } = request;
    signal.throwIfAborted();
    this.#checkRoom(dims[0]);
    const result = Promise.withResolvers<OutputTensor[]>();
    this.#tensors.push(client, { request, result });
    return untilAborted(result.promise, signal, () => {
      this.#tensors.waiting.remove(client, (job) => job.request === request);
    });
  }

  #checkRoom(pictures: number): void {
    const { queued, maxQueue } = this;
    if (queued + pictures > maxQueue)
      throw new OverloadedError(`${queued} pictures wait already and the queue holds ${maxQueue}`);
  }

  get isHealthy(): boolean {
    return this.#options.pool.isHealthy;
  }

  /** Waits until all pictures are done, then ends the threads. */
  async close(): Promise<void> {
    await this.#lanes.idle();
    await this.inputSizes.close();
    await this.#tensors.idle();
    await this.#options.pool.close();
  }

  #begin(job: Job): Promise<void> {
    this.#observe('queue', job.since);
    this.#rate.begin();
    return this.#work(job)
      .then(job.result.resolve, job.result.reject)
      .finally(() => this.#rate.done(1, this.#lanes.underWay === 1));
  }

  async #work({ bytes, header, request }: Job): Promise<PictureResult> {
    const started = performance.now();
    const arrived = this.#batcher.announce();
    let inferred: Promise<Candidate[]>;
    let picture: Picture;
    let decoded: number;
    try {
      picture = await decodePicture(bytes, header, {
        resize: this.#options.resize,
        // A GPU needs more frames a second than one thread can scale.
        scale: this.#options.tunesShapes ? resizeInWorker : resizeLinear,
        place: (width, height) => this.inputSizes.place(width, height),
      });
      decoded = this.#observe('picture', started);
      request.signal.throwIfAborted();
      inferred = this.#batcher.add({ picture, threshold: request.threshold, signal: request.signal });
    } catch (error) {
      if (error instanceof PictureError) return { error: error.message };
      throw error;
    } finally {
      arrived();
    }
    const candidates = await inferred;
    this.#observe('batch', decoded);
    const detections = candidates.map((candidate) =>
      toDetection(candidate, picture, this.#nameOf(candidate.classId)),
    );
    return { width: picture.width, height: picture.height, detections };
  }

  async #infer(items: Prepared[]): Promise<Candidate[][]> {
    const [first] = items;
    if (!first) return [];
    const { box } = first.picture;
    // The runtime may get padding after the items: its contents do not matter.
    const padded = this.#options.batchSizes.find((size) => size >= items.length) ?? items.length;
    const size = this.#isPadded ? padded : items.length;
    const frames = this.#takeFrames(size * frameBytes(box));
    const pictures = items.map(({ picture }) => picture);
    layOut(pictures, frames);
    for (const { rgb } of pictures) giveBack(rgb);
    const result = await this.#options.pool.run({
      frames,
      dims: [size, box.inputHeight, box.inputWidth, 3],
      thresholds: items.map(({ threshold }) => threshold),
      scales: items.map(({ picture }) => 1 / picture.box.scaleX),
    });
    this.#free.push(result.frames);
    this.#options.observeBatch(items.length);
    this.#options.observeCut(result.cut);
    this.#options.observe('inference', result.milliseconds.inference / 1000);
    this.#options.observe('head', result.milliseconds.decoding / 1000);
    return result.candidates;
  }

  #takeFrames(bytes: number): Uint8Array {
    const free = this.#free.pop();
    // A buffer that is too small is left to the garbage collector: cameras rarely change their size.
    return free && free.length >= bytes ? free : new Uint8Array(bytes);
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
