import { type Config, readConfig } from '@video-pipeline/config';
import { CANARY_STOPPED_KEY, type Detection, type Frame } from '@video-pipeline/frame';
import {
  createHttpClient,
  createInferenceClient,
  type FrameResult,
  INFERENCE_VARIABLES,
  type InferenceClient,
  InferenceClientError,
} from '@video-pipeline/inference-client';
import { type Box, iou } from '@video-pipeline/scene';
import { createReader, isMissing, type Reader } from '@video-pipeline/storage';
import { emitVariant, type Logger, type VariantValues } from '@video-pipeline/telemetry';

/** Variables that name a canary: a second model server, beside the one that is in use. */
export const CANARY_VARIABLES = [
  'INFERENCE_CANARY_URL',
  'INFERENCE_CANARY_SHARE',
  'INFERENCE_CANARY_MODE',
] as const;

/** That object is looked for so often, milliseconds. */
const STOPPED_AGE_MS = 10_000;
/** A canary's share of INFERENCE_TIMEOUT_SECONDS: where it does not answer, the model in use still has to. */
const CANARY_PATIENCE = 0.25;
/** Boxes of one class that overlap so far, as intersection over union, are the same object. */
const SAME_OBJECT = 0.5;

export interface CanaryOptions {
  main: InferenceClient;
  canary: InferenceClient;
  /** Share of the batches that the canary is asked about, 0..1. */
  share: number;
  /** `canary`: its answers are used. `shadow`: they are compared with those of `main`, and never used. */
  mode: Config<'INFERENCE_CANARY_MODE'>['INFERENCE_CANARY_MODE'];
  isStopped: () => boolean;
  logger: Pick<Logger, 'warn'>;
  random?: () => number;
}

/**
 * Asks a second model server about a share of the batches. It can lose no frame: what it does not answer, `main` does.
 * Frames for which a stream names its model are `main`'s alone, and not counted: the canary may replace its default one.
 * Errors, time and detections of both are counted as the metrics `Variant...`, by which alarms compare them.
 */
export function withCanary(options: CanaryOptions): InferenceClient {
  const { main, mode, share, isStopped, logger, random = Math.random } = options;
  const ask = { main: counted('main', main), canary: counted('canary', checked(options.canary)) };
  const failed = (error: unknown) => logger.warn('the canary model gave no answer', error as Error);
  // One at a time: a shadow that is slow is asked less, and holds the frames of one batch at most.
  let isComparing = false;

  async function compare(frames: readonly Frame[], answer: Promise<FrameResult[]>): Promise<void> {
    const seen = await ask.canary(frames);
    const used = await answer.catch(() => undefined);
    if (used) emitVariant('detect', 'canary', { VariantAgreed: agreed(used, seen) });
  }

  return {
    async detect(frames, model) {
      if (model !== undefined) return main.detect(frames, model);
      const isChosen = random() < share && frames.length > 0 && !isStopped();
      if (isChosen && mode === 'canary') {
        const results = await ask.canary(frames).catch(failed);
        if (results) return results;
      }
      const answer = ask.main(frames);
      if (isChosen && mode === 'shadow' && !isComparing) {
        isComparing = true;
        compare(frames, answer)
          .catch(failed)
          .finally(() => {
            isComparing = false;
          });
      }
      return answer;
    },
  };
}

/** Counts what a server is asked, and how it answers. */
function counted(variant: 'main' | 'canary', { detect }: InferenceClient): InferenceClient['detect'] {
  return async (frames) => {
    const started = performance.now();
    const count = (values: VariantValues) => emitVariant('detect', variant, { VariantCalls: 1, ...values });
    try {
      const results = await detect(frames);
      const detections = results.reduce((sum, result) => sum + detectionsOf(result).length, 0);
      const VariantTime = performance.now() - started;
      count({ VariantErrors: 0, VariantFrames: frames.length, VariantDetections: detections, VariantTime });
      return results;
    } catch (error) {
      count({ VariantErrors: 1 });
      throw error;
    }
  };
}

/**
 * A canary's answer counts only as a whole. A frame that it can't read, or takes for another size, would go to failed/,
 * though the model in use may know it well.
 */
function checked({ detect }: InferenceClient): InferenceClient {
  return {
    async detect(frames) {
      const results = await detect(frames);
      for (const [index, frame] of frames.entries()) {
        const result = results[index];
        if (!result) throw new InferenceClientError('gave fewer results than frames');
        if ('error' in result) throw new InferenceClientError(`refused a frame: ${result.error}`);
        if (result.width !== frame.width || result.height !== frame.height)
          throw new InferenceClientError(`took a frame for ${result.width}x${result.height} pixels`);
      }
      return results;
    },
  };
}

const detectionsOf = (result: FrameResult | undefined): Detection[] =>
  result && 'detections' in result ? result.detections : [];

const boxOf = ({ bbox: [x1, y1, x2, y2] }: Detection): Box => [
  (x1 + x2) / 2,
  (y1 + y2) / 2,
  x2 - x1,
  y2 - y1,
];

/** Objects that both have found: each detection of one is paired with one of the other at most. */
export function agreed(used: readonly FrameResult[], seen: readonly FrameResult[]): number {
  return used.reduce((sum, result, index) => {
    const others = new Set(detectionsOf(seen[index]));
    for (const one of detectionsOf(result)) {
      const same = [...others].find(
        (other) => other.class_name === one.class_name && iou(boxOf(one), boxOf(other)) >= SAME_OBJECT,
      );
      if (same && others.delete(same)) sum += 1;
    }
    return sum;
  }, 0);
}

/**
 * Whether {@link CANARY_STOPPED_KEY} is there, looked for again after a while. Nobody waits for the bucket: until it has
 * answered for the first time the canary is not asked, and where it does not answer, the last answer stands.
 */
export function canaryStopped({ read }: Pick<Reader, 'read'>, everyMs = STOPPED_AGE_MS): () => boolean {
  let stopped = true;
  let askedAt = Number.NEGATIVE_INFINITY;
  const told = (is: boolean) => {
    stopped = is;
  };
  return () => {
    if (performance.now() - askedAt < everyMs) return stopped;
    askedAt = performance.now();
    read(CANARY_STOPPED_KEY).then(
      () => told(true),
      (error) => told(isMissing(error) ? false : stopped),
    );
    return stopped;
  };
}

/** The detector that the environment names, with its canary where it names one. */
export function createDetector(
  logger: Pick<Logger, 'warn'>,
  config = readConfig([...INFERENCE_VARIABLES, ...CANARY_VARIABLES]),
): InferenceClient {
  const main = createInferenceClient(config);
  const { INFERENCE_CANARY_URL: url, INFERENCE_CONFIDENCE_THRESHOLD: threshold } = config;
  if (!url) return main;
  const timeoutMs = config.INFERENCE_TIMEOUT_SECONDS * 1000 * CANARY_PATIENCE;
  return withCanary({
    main,
    canary: createHttpClient({ url, timeoutMs, threshold }),
    share: config.INFERENCE_CANARY_SHARE,
    mode: config.INFERENCE_CANARY_MODE,
    isStopped: canaryStopped(createReader()),
    logger,
  });
}
