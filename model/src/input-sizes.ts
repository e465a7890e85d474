import type { Preprocessing } from './heads/head.ts';
import type { Runtime, WorkerJob } from './inference-pool.ts';
import { type InputSize, type Letterbox, letterbox, squareOf } from './letterbox.ts';
import { frameBytes } from './picture.ts';

interface InputSizesOptions {
  runtime: Runtime;
  inputSize: InputSize;
  fit: Preprocessing['fit'];
  /** Batch sizes of the runtime, ascending. */
  buckets: readonly number[];
  /**
   * Whether the runtime tunes itself to each input shape at its first use, for seconds, as GPUs do. A new shape is then
   * never used for the first time while a picture waits for it.
   */
  tunesShapes: boolean;
  /** Called when a thread failed to tune itself to an input size. */
  onError(error: Error): void;
}

/** Most input sizes: each costs a GPU seconds and memory, and the clients' pictures decide how many there are. */
const MAX_SIZES = 8;

/** Places pictures in the model's input, and knows which input sizes the runtime is tuned to. */
export class InputSizes {
  readonly #options: InputSizesOptions;
  readonly #ready = new Set<string>();
  /** Input sizes that the runtime is tuned to, or is being tuned to. */
  readonly #known = new Set<string>();
  #warming: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(options: InputSizesOptions) {
    this.#options = options;
  }

  /** Number of input sizes that the runtime is tuned to. */
  get count(): number {
    return this.#ready.size;
  }

  /**
   * Where a picture of this width and height, pixels, lies in the model's input. If the runtime is not tuned to the
   * picture's input size yet, the picture is placed in the square input at the same scale. Meanwhile the runtime is
   * tuned to that size in the background.
   */
  place(width: number, height: number): Letterbox {
    const { inputSize, fit, tunesShapes } = this.#options;
    const box = letterbox(width, height, inputSize, fit);
    if (!tunesShapes || inputSize.kind === 'fixed' || this.#ready.has(nameOf(box))) return box;
    if (this.#known.size < MAX_SIZES) this.#makeReadyInBackground(box);
    return letterbox(width, height, this.#square, fit);
  }

  /** Whether the runtime accepts frames of these dims, `[N, H, W, 3]`, without tuning itself first. */
  isReadyFor([count, height, width]: WorkerJob['dims']): boolean {
    const { tunesShapes, buckets } = this.#options;
    return !tunesShapes || (buckets.includes(count) && this.#ready.has(`${width}x${height}`));
  }

  /**
   * Runs the model on every thread at each batch size, with the input size of 16:9 frames. A runtime that needs tuning
   * runs before with the square input, which holds frames of every shape.
   * @throws InferenceError when the runtime fails
   */
  async warmUp(): Promise<void> {
    const { inputSize, fit, tunesShapes } = this.#options;
    if (tunesShapes && inputSize.kind === 'rectangle')
      await this.#makeReady(letterbox(1, 1, this.#square, fit), inParallel);
    await this.#makeReady(letterbox(16, 9, inputSize, fit), inParallel);
  }

  /** Waits until no thread is being tuned. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#warming;
  }

  get #square(): InputSize {
    const { inputSize } = this.#options;
    return inputSize.kind === 'fixed' ? inputSize : squareOf(inputSize);
  }

  #makeReadyInBackground(box: Letterbox): void {
    const name = nameOf(box);
    if (this.#known.has(name)) return;
    this.#known.add(name);
    this.#warming = this.#warming
      .then(() => (this.#isClosed ? undefined : this.#makeReady(box, oneByOne)))
      .catch((error: Error) => {
        if (!this.#isClosed) this.#options.onError(error);
      });
  }

  async #makeReady(box: Letterbox, inOrder: typeof inParallel): Promise<void> {
    const { runtime } = this.#options;
    this.#known.add(nameOf(box));
    const threads = Array.from({ length: runtime.size }, (_, thread) => thread);
    await inOrder(threads, (thread) => runtime.runOn(thread, this.#jobs(box)));
    this.#ready.add(nameOf(box));
  }

  *#jobs(box: Letterbox) {
    // The smallest and the largest size come first: TensorRT then builds an engine for the whole range.
    const [smallest = 1, ...others] = this.#options.buckets;
    for (const size of [smallest, ...others.toReversed()]) {
      if (this.#isClosed) return;
      yield {
        frames: new Uint8Array(size * frameBytes(box)),
        dims: [size, box.inputHeight, box.inputWidth, 3] as [number, number, number, 3],
        thresholds: [1],
        isWarmUp: true,
      };
    }
  }
}

const nameOf = ({ inputWidth, inputHeight }: Letterbox) => `${inputWidth}x${inputHeight}`;

async function inParallel(threads: number[], run: (thread: number) => Promise<void>): Promise<void> {
  await Promise.all(threads.map(run));
}

/** One thread at a time, so that the other threads go on serving. */
async function oneByOne(threads: number[], run: (thread: number) => Promise<void>): Promise<void> {
  for (const thread of threads) await run(thread);
}
