import { setTimeout as sleep } from 'node:timers/promises';
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
import { fromCorners, iou } from '@video-pipeline/scene';
import { cached, createReader, ifThere, type Reader } from '@video-pipeline/storage';
import { emitVariant, type Logger, type VariantValues } from '@video-pipeline/telemetry';

/** Variables of the canary: a second model server, beside the one in use. */
export const CANARY_VARIABLES = [
  'INFERENCE_CANARY_URL',
  'INFERENCE_CANARY_SHARE',
  'INFERENCE_CANARY_MODE',
] as const;

/** How often {@link CANARY_STOPPED_KEY} is looked for in the bucket, milliseconds. */
const STOPPED_AGE_MS = 10_000;
/** The canary's share of INFERENCE_TIMEOUT_SECONDS. The rest is left for the model in use, if the canary fails. */
const CANARY_TIMEOUT_SHARE = 0.25;
/** Longest wait of a Lambda function for a shadow after the batch is done, milliseconds. */
const SETTLE_MS = 1_000;
/** Intersection over union from which two boxes of one class are the same object. */
const SAME_OBJECT = 0.5;

interface CanaryOptions {
  main: InferenceClient;
  canary: InferenceClient;
  /** Share of the batches that are sent to the canary, 0..1. */
  share: number;
  /** `canary`: its answers are used. `shadow`: they are compared with those of `main`, and never used. */
  mode: Config<'INFERENCE_CANARY_MODE'>['INFERENCE_CANARY_MODE'];
  isStopped: () => boolean;
  logger: Pick<Logger, 'warn'>;
  random?: () => number;
  /** Longest wait of {@link CanaryDetector.settle}, milliseconds. */
  settleMs?: number;
}

interface CanaryDetector extends InferenceClient {
  /**
   * Waits for a shadow's answer, for a moment, and then does without it: that counts as an error. A Lambda function
   * calls it at the end of a batch. Otherwise AWS would freeze it, and the frozen time would count as the shadow's.
   */
  settle(): Promise<void>;
}

/**
 * Sends a share of the batches to a second model server. No frame can be lost: where the canary gives no answer, `main`
 * is asked. Frames of streams that name a model go to `main` only and are not counted: the canary may replace only the
 * default model. Errors, time and detections of both are the metrics `Variant...`. Alarms compare them.
 */
export function withCanary(options: CanaryOptions): CanaryDetector {
  const { main, mode, share, isStopped, logger, random = Math.random, settleMs = SETTLE_MS } = options;
  const canary = validated(options.canary);
  const ask = { main: metered('main', main.detect), canary: metered('canary', canary) };
  const failed = (error: unknown) => logger.warn('the canary model gave no answer', error as Error);
  // One comparison at a time: a slow shadow gets fewer batches, and keeps the frames of at most one in memory.
  let comparison: { ended: Promise<void>; abandon(reason: Error): void } | undefined;

  function compare(frames: readonly Frame[], answer: Promise<FrameResult[]>): NonNullable<typeof comparison> {
    const { promise: abandoned, reject: abandon } = Promise.withResolvers<never>();
    const work = async () => {
      const seen = await metered('canary', () => Promise.race([canary(frames), abandoned]))(frames);
      const used = await answer.catch(() => undefined);
      if (used) emitVariant('detect', 'canary', { VariantAgreed: countAgreements(used, seen) });
    };
    const end = () => {
      comparison = undefined;
    };
    return { ended: work().catch(failed).finally(end), abandon };
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
      if (isChosen && mode === 'shadow') comparison ??= compare(frames, answer);
      return answer;
    },
    async settle() {
      if (!comparison) return;
      const { ended, abandon } = comparison;
      await Promise.race([ended, sleep(settleMs, undefined, { ref: false })]);
      abandon(new InferenceClientError(`it took over ${settleMs / 1000} s longer than the batch`));
      await ended;
    },
  };
}

/** Counts the calls, errors, frames, detections and time of a server. */
function metered(variant: 'main' | 'canary', detect: InferenceClient['detect']): InferenceClient['detect'] {
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
 * Rejects a canary's answer in which any frame is missing, refused or of another size. Otherwise that frame would go to
 * failed/, although the model in use may read it without error.
 */
function validated({ detect }: InferenceClient): InferenceClient['detect'] {
  return async (frames) => {
    const results = await detect(frames);
    for (const [index, frame] of frames.entries()) {
      const result = results[index];
      if (!result) throw new InferenceClientError('gave fewer results than frames');
      if ('error' in result) throw new InferenceClientError(`refused a frame: ${result.error}`);
      if (result.width !== frame.width || result.height !== frame.height)
        throw new InferenceClientError(`took a frame for ${result.width}x${result.height} pixels`);
    }
    return results;
  };
}

const detectionsOf = (result: FrameResult | undefined): Detection[] =>
  result && 'detections' in result ? result.detections : [];

/** Number of objects that both models found. Each detection of one is paired with at most one of the other. */
export function countAgreements(used: readonly FrameResult[], seen: readonly FrameResult[]): number {
  return used.reduce((sum, result, index) => {
    const others = new Set(detectionsOf(seen[index]));
    for (const one of detectionsOf(result)) {
      const same = [...others].find(
        ({ class_name, bbox }) =>
          class_name === one.class_name && iou(fromCorners(one.bbox), fromCorners(bbox)) >= SAME_OBJECT,
      );
      if (same && others.delete(same)) sum += 1;
    }
    return sum;
  }, 0);
}

/**
 * Whether {@link CANARY_STOPPED_KEY} exists. It is read again every `everyMs`. No batch waits for the bucket. Until the
 * bucket's first answer the canary counts as stopped. If the bucket does not answer, its last answer stays valid.
 */
export function canaryStopped({ read }: Pick<Reader, 'read'>, everyMs = STOPPED_AGE_MS): () => boolean {
  let stopped = true;
  const look = async (key: string) => {
    stopped = (await ifThere(read(key))) !== undefined;
  };
  const atTimes = cached((key) => look(key).catch(() => {}), everyMs);
  return () => {
    void atTimes(CANARY_STOPPED_KEY);
    return stopped;
  };
}

/** The detector of the environment, with a canary if INFERENCE_CANARY_URL is set. */
export function createDetector(
  logger: Pick<Logger, 'warn'>,
  config = readConfig([...INFERENCE_VARIABLES, ...CANARY_VARIABLES]),
): InferenceClient & Partial<CanaryDetector> {
  const main = createInferenceClient(config);
  const { INFERENCE_CANARY_URL: url, INFERENCE_CONFIDENCE_THRESHOLD: threshold } = config;
  if (!url) return main;
  const timeoutMs = config.INFERENCE_TIMEOUT_SECONDS * 1000 * CANARY_TIMEOUT_SHARE;
  return withCanary({
    main,
    canary: createHttpClient({ url, timeoutMs, threshold }),
    share: config.INFERENCE_CANARY_SHARE,
    mode: config.INFERENCE_CANARY_MODE,
    isStopped: canaryStopped(createReader()),
    logger,
  });
}
