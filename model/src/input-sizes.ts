import type { Preprocessing } from './heads/head.ts';
import type { Runtime, WorkerJob } from './inference-pool.ts';
import { type InputSize, type Letterbox, letterbox } from './letterbox.ts';
import { frameBytes } from './picture.ts';

export interface InputSizesOptions {
  runtime: Runtime;
  inputSize: InputSize;
  fit: Preprocessing['fit'];
  /** Sizes of batches that the runtime gets, ascending. */
  rungs: readonly number[];
  /**
   * Whether the runtime prepares itself for each shape of input when it first sees it, as GPUs do, for seconds: then it
   * never sees one for the first time while a picture waits.
   */
  tunesShapes: boolean;
  /** Called when a thread failed to get ready for one. */
  onError(error: Error): void;
}

/** Most input sizes that are made ready: each costs a GPU seconds and memory, and who sends pictures chooses them. */
const MAX_SIZES = 8;

/** Where pictures lie in the model's input, and which sizes of input the runtime is ready for. */
export class InputSizes {
  readonly #options: InputSizesOptions;
  readonly #ready = new Set<string>();
  /** Made ready, or being so. */
  readonly #known = new Set<string>();
  #warming: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(options: InputSizesOptions) {
    this.#options = options;
  }

  /** Input sizes that the runtime is ready for. */
  get count(): number {
    return this.#ready.size;
  }

  /**
   * Where a picture of some width and height, pixels, lies in the model's input. One that would need an input size which
   * the runtime isn't ready for lies in the square, scaled alike, while that size is made ready in the background.
   */
  place(width: number, height: number): Letterbox {
    const { inputSize, fit, tunesShapes } = this.#options;
    const box = letterbox(width, height, inputSize, fit);
    if (!tunesShapes || inputSize.kind === 'fixed' || this.#ready.has(nameOf(box))) return box;
    if (this.#known.size < MAX_SIZES) this.#makeReadyInBackground(box);
    return letterbox(width, height, this.#square, fit);
  }

  /** Whether the runtime takes so many frames of such a size, `[N, H, W, 3]`, without preparing itself first. */
  isReadyFor([count, height, width]: WorkerJob['dims']): boolean {
    const { tunesShapes, rungs } = this.#options;
    return !tunesShapes || (rungs.includes(count) && this.#ready.has(`${width}x${height}`));
  }

  /**
   * Has every thread run the model at each batch size, in the input that wide frames get and, where a runtime must be
   * ready for all it gets, in the square that holds the others.
   * @throws InferenceError when it can't
   */
  async warmUp(): Promise<void> {
    const { inputSize, fit, tunesShapes } = this.#options;
    await this.#makeReady(letterbox(16, 9, inputSize, fit), inParallel);
    if (tunesShapes && inputSize.kind === 'rectangle')
      await this.#makeReady(letterbox(1, 1, this.#square, fit), inParallel);
  }

  /** Waits for threads that are being made ready. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#warming;
  }

  get #square(): InputSize {
    const { inputSize } = this.#options;
    if (inputSize.kind === 'fixed') return inputSize;
    const side = Math.ceil(inputSize.longest / inputSize.stride) * inputSize.stride;
    return { kind: 'fixed', width: side, height: side };
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
    // The smallest and the largest first: TensorRT then builds for all between.
    const [smallest = 1, ...others] = this.#options.rungs;
    for (const size of [smallest, ...others.toReversed()]) {
      if (this.#isClosed) return;
      yield {
        frames: new Uint8Array(size * frameBytes(box)),
        dims: [size, box.inputHeight, box.inputWidth, 3] as [number, number, number, 3],
        thresholds: [1],
      };
    }
  }
}

const nameOf = ({ inputWidth, inputHeight }: Letterbox) => `${inputWidth}x${inputHeight}`;

async function inParallel(threads: number[], run: (thread: number) => Promise<void>): Promise<void> {
  await Promise.all(threads.map(run));
}

/** So that the others go on serving. */
async function oneByOne(threads: number[], run: (thread: number) => Promise<void>): Promise<void> {
  for (const thread of threads) await run(thread);
}
