import { readConfig, streamsFileOf } from '@video-pipeline/config';
import {
  annotatedKey,
  type DetectedFrame,
  decodeFrame,
  eventKey,
  type Frame,
  MAX_DETECTIONS_BYTES,
  type MSKEvent,
  type PictureReference,
} from '@video-pipeline/frame';
import { type FrameResult, InferenceClientError } from '@video-pipeline/inference-client';
import { connectKafka, createTail, orderedProducer } from '@video-pipeline/kafka';
import type { SceneEvent } from '@video-pipeline/scene';
import { createPutFailed, createStore, inParallel, isObjectUrl, type Store } from '@video-pipeline/storage';
import {
  asSpan,
  createLogger,
  emitMetrics,
  sharedSpan,
  startSpan,
  tracedHandler,
  traceOf,
} from '@video-pipeline/telemetry';
import type { AnnotateFrames } from './annotate.ts';
import { createDetector } from './canary.ts';
import { putWithNote } from './late-notes.ts';
import { createPublish, type Publish, type PublishedFrame } from './publish.ts';
import {
  byStream,
  decodeRecords,
  type Failure,
  type FailureDependencies,
  putAllFailed,
  type Received,
} from './records.ts';
import { followScenes, SCENE_VARIABLES, scenesReader } from './scene-configs.ts';
import { createScenes, type Scenes } from './scenes.ts';

const EVENT_CONCURRENCY = 16;

interface DetectDependencies extends FailureDependencies {
  detector: ReturnType<typeof createDetector>;
  publish: Publish;
  /** Filters detections, tracks objects, finds events. Without it, frames keep the model's detections. */
  scenes?: Scenes | undefined;
  /** Where events are kept. */
  store?: Store | undefined;
  /**
   * PICTURES=once: detect itself annotates the published frames, under the folder `prefix`. The records of `detections`
   * then carry references, no pictures. Without `once`, they carry the pictures.
   */
  once?: { annotate: AnnotateFrames; prefix: string } | undefined;
}

/**
 * The Lambda that detects objects. It sends a batch of `video-frames` to the detector and publishes the results to
 * `detections`. A frame that the detector refuses becomes a dead letter in failed/. Any other fault fails the batch,
 * which is then delivered again.
 * @example
 * const handler = createDetect({ detector: createInferenceClient(), publish, putFailed, logger });
 */
export function createDetect(dependencies: DetectDependencies) {
  const { detector, publish, scenes, store, once } = dependencies;
  /** Streams whose configured model the endpoint does not have. Each is logged once. */
  const without = new Set<string>();

  /** Calls the detector once for each model: a stream's configuration may name its own model. */
  async function inferAll(frames: readonly Frame[]): Promise<FrameResult[]> {
    const models = await scenes?.models();
    const results: FrameResult[] = new Array(frames.length);
    for (const [model, group] of Map.groupBy(frames.entries(), ([, { streamId }]) => models?.get(streamId))) {
      const seen = await detector.detect(
        group.map(([, frame]) => frame),
        model,
      );
      for (const [at, [index, { streamId }]] of group.entries()) {
        const result = seen[at];
        if (result) results[index] = result;
        if (model === undefined || !result || 'error' in result || result.model === model) continue;
        if (!without.has(streamId))
          dependencies.logger.warn('the endpoint has no model of that name: its default one is used', {
            stream: streamId,
            model,
            used: result.model,
          });
        without.add(streamId);
      }
    }
    return results;
  }

  async function detect(event: MSKEvent, received: Received[], failures: Failure[], parent?: string) {
    const started = performance.now();
    const frames = received.map(({ frame }) => frame);
    const results = await asSpan('detect', 'infer', { parent }, () => inferAll(frames));
    const inferenceMs = performance.now() - started;

    const detected: Received<DetectedFrame>[] = [];
    for (const [index, { record, frame }] of received.entries()) {
      const seen = checkResult(frame, results[index]);
      if ('code' in seen) failures.push({ record, ...seen });
      else detected.push({ record, frame: seen });
    }
    const { frames: seen, events } = scenes
      ? await scenes.process(event, detected)
      : { frames: detected as Received<PublishedFrame>[], events: [] };
    if (once) for (const one of seen) one.frame.picture = pictureIn(one, once.prefix);
    const [tooLarge] = await Promise.all([publish(seen), putAllFailed('detect', failures, dependencies)]);
    await putAllFailed('detect', tooLarge, dependencies);
    // Events come after the frames: a reader of an event finds its frames published, and a failed batch leaves no
    // stored event without frames. Each event is stored before it is published. A retry overwrites the object.
    if (store) await inParallel(events, EVENT_CONCURRENCY, (one) => keepEvent(one, store));
    await scenes?.publishEvents(events);
    const notPublished = new Set(tooLarge.map(({ record }) => record));
    await once?.annotate(seen.filter(({ record }) => !notPublished.has(record)));
    report(seen, inferenceMs);
  }

  return async (event: MSKEvent): Promise<void> => {
    const { received, failures } = decodeRecords(event, decodeFrame);
    const shared = sharedSpan(received.map(({ frame }) => frame));
    await asSpan('detect', 'detect.batch', shared, async (batch) => {
      const spans = spansOf(received, batch);
      const traced = received.map((one, index) => ({
        ...one,
        frame: { ...one.frame, ...traceOf(spans[index]) },
      }));
      const end = (error?: unknown) => {
        for (const span of spans) span?.end(error);
      };
      try {
        await detect(event, traced, failures, batch);
        end();
      } catch (error) {
        end(error);
        throw error;
      } finally {
        if (process.env.AWS_LAMBDA_FUNCTION_NAME) await detector.settle?.();
      }
    });
  };
}

/** Where a frame's picture is: in its record of `video-frames`, and in S3 once it is annotated. */
function pictureIn({ record, frame }: Received, prefix: string): PictureReference {
  const { topic, partition, offset } = record;
  return { topic, partition, offset, annotated_key: annotatedKey(prefix, frame) };
}

/** A span for each traced frame, linked to the span of the batch. */
const spansOf = (received: readonly Received[], batch: string | undefined) =>
  received.map(({ frame: { traceparent: parent } }) =>
    parent === undefined
      ? undefined
      : startSpan('detect', 'detect.frame', { parent, links: batch ? [batch] : [] }),
  );

/** Stores an event, for the tables and the console's page of events. */
function keepEvent(event: SceneEvent, store: Store): Promise<void> {
  const body = `${JSON.stringify(event)}\n`;
  return putWithNote(store, { key: eventKey(event), body, contentType: 'application/json' }, event.at);
}

/** The frame with its detections, or the reason why it becomes a dead letter. */
function checkResult(frame: Frame, result: FrameResult | undefined): DetectedFrame | Omit<Failure, 'record'> {
  if (!result) throw new InferenceClientError('the detector gave fewer results than frames');
  if ('error' in result) return { code: 'PICTURE_INVALID', reason: result.error };
  const { model, width, height, detections } = result;
  if (width !== frame.width || height !== frame.height) {
    const reason = `the JPEG is ${width}x${height} pixels, its record says ${frame.width}x${frame.height}`;
    return { code: 'SIZE_MISMATCH', reason };
  }
  // Half of a record's limit: the ids of the tracks are added later.
  if (Buffer.byteLength(JSON.stringify(detections)) > MAX_DETECTIONS_BYTES / 2) {
    return {
      code: 'TOO_MANY_DETECTIONS',
      reason: `${detections.length} detections are more than a record carries`,
    };
  }
  return { ...frame, detections, model };
}

function report(detected: readonly Received<DetectedFrame>[], inferenceMs: number): void {
  for (const [stream, frames] of byStream(detected)) {
    emitMetrics('detect', stream, {
      FramesDetected: frames.length,
      Detections: frames.reduce((sum, { frame }) => sum + frame.detections.length, 0),
      InferenceTime: inferenceMs,
    });
  }
}

const logger = createLogger('detect');
const config = readConfig([
  'KAFKA_DETECTIONS_TOPIC',
  'KAFKA_EVENTS_TOPIC',
  'PICTURES',
  'EVENT_CLIPS',
  'S3_PREFIX',
  ...SCENE_VARIABLES,
]);
const kafka = connectKafka('detect', logger);
const producer = orderedProducer(kafka);
const store = createStore();
const list = streamsFileOf(config);
const hasScenes = SCENE_VARIABLES.some((name) => config[name] !== undefined);

/** The handler as Lambda runs it, wired from the environment. Nothing is connected before the first batch. */
export const handler = tracedHandler(
  createDetect({
    detector: createDetector(logger),
    publish: createPublish(producer, config.KAFKA_DETECTIONS_TOPIC),
    scenes: hasScenes
      ? createScenes({
          configs: isObjectUrl(list) ? followScenes(list, logger) : scenesReader(config, logger),
          allowedClasses: config.ALLOWED_CLASSES,
          prefix: config.S3_PREFIX,
          detectionsTopic: config.KAFKA_DETECTIONS_TOPIC,
          eventsTopic: config.KAFKA_EVENTS_TOPIC,
          clips: config.EVENT_CLIPS === 'on',
          tail: createTail(kafka),
          producer,
          logger,
        })
      : undefined,
    store,
    // Loaded only with PICTURES=once: the module needs fonts and the drawing code.
    once:
      config.PICTURES === 'once'
        ? { annotate: (await import('./annotate.ts')).annotateFrames, prefix: config.S3_PREFIX }
        : undefined,
    putFailed: createPutFailed(store, 'detect'),
    logger,
  }),
);
