import { readConfig, type Value } from '@video-pipeline/config';
import {
  annotatedKey,
  type DetectedFrame,
  decodeSeenFrame,
  detectionsKey,
  factsOf,
  hourFolder,
  type MSKEvent,
} from '@video-pipeline/frame';
import {
  CLIP_VARIABLES,
  createPutFailed,
  createStore,
  inParallel,
  type MergingStore,
} from '@video-pipeline/storage';
import { asSpan, createLogger, emitMetrics, tracedHandler } from '@video-pipeline/telemetry';
import { drawable, pixelsOf } from './drawing/annotate-jpeg.ts';
import { canDraw, codeOf, drawWithRetries } from './drawing/draw-retries.ts';
import { FRAME_CONCURRENCY } from './frame-concurrency.ts';
import { createObjectCounts } from './frigate.ts';
import { createPictureChooser, earlierFrom, keepRuleOf, type PictureChooser } from './keep-pictures.ts';
import { mergeWithNote } from './late-notes.ts';
import { type PictureParts, putPacks, putPicture } from './put-pictures.ts';
import {
  byStream,
  decodeRecords,
  type Failure,
  type FailureDependencies,
  lazyHandler,
  putAllFailed,
  type Received,
} from './records.ts';

interface AnnotateDependencies extends FailureDependencies {
  store: MergingStore;
  /** First folder of annotated frames. */
  prefix: string;
  /**
   * `frames`: one object for each picture. `archive`, `video`: one object for each stream's pictures of a batch.
   * `events`: one object for each picture that {@link choosePictures} chooses.
   */
  form: Value<'STORE'>;
  /** Without it, every picture is kept. */
  choosePictures?: PictureChooser | undefined;
  /** Quality of the JPEGs, 1..100. */
  quality?: number | undefined;
  /** Whether boxes are drawn; true by default. */
  boxes?: boolean;
  /** S3 storage class of objects that hold many pictures. Without it, the bucket's default. */
  storageClass?: Value<'S3_STORAGE_CLASS'>;
  /** Called with the frames of a batch once they are stored. */
  count?: ((frames: readonly DetectedFrame[]) => void) | undefined;
}

const NO_PICTURE = Buffer.alloc(0);
/** Streams that are encoded as video at the same time: each encoder holds a dozen pictures in memory. */
const VIDEO_CONCURRENCY = 2;

/** A frame whose picture is done, and whose detections are not stored yet. */
interface Drawn extends Received<DetectedFrame> {
  key: string;
  /** The annotated JPEG. Empty if it is not kept, and once it is stored: a whole batch does not fit into memory. */
  jpeg: Buffer;
  isKept: boolean;
  /** From capture to acknowledgement, milliseconds. */
  latencyMs: number;
}

/**
 * The Lambda that draws and stores. It skips picture references: detect has annotated those frames already.
 * @example
 * const handler = createAnnotate({ store: createStore(), prefix: 'annotated', form: 'frames', putFailed, logger });
 */
export function createAnnotate(dependencies: AnnotateDependencies) {
  const annotateBatch = createAnnotateFrames(dependencies);
  return async (event: MSKEvent): Promise<void> => {
    const { received, failures } = decodeRecords(event, (record) => {
      const frame = decodeSeenFrame(record);
      return 'picture' in frame ? undefined : frame;
    });
    await annotateBatch(received, failures);
  };
}

/** Draws on the frames of a batch and stores them. Frames that fail and the records `refused` go into failed/. */
export type AnnotateFrames = (
  received: readonly Received<DetectedFrame>[],
  refused?: readonly Failure[],
) => Promise<void>;

/**
 * Each frame becomes a JPEG with its boxes. Each stream of the batch becomes an NDJSON of its detections. A broken
 * picture becomes a dead letter in failed/. So does a frame that can't be drawn on, if another frame or a grey test
 * picture can. Any other fault fails the batch. The batch is then delivered again, and each object overwrites itself.
 */
export function createAnnotateFrames(dependencies: AnnotateDependencies): AnnotateFrames {
  const { store, prefix, form, choosePictures, count, quality = 85, boxes = true } = dependencies;
  const isPacked = form === 'archive' || form === 'video';
  // Pictures in archives are kept for long: a smaller JPEG is worth the CPU time.
  const how = { quality, optimise: form === 'archive', boxes };
  const annotateOne = (one: Received<DetectedFrame>, isKept: boolean): Promise<Drawn | Failure> =>
    asSpan('annotate', 'annotate.frame', { parent: one.frame.traceparent }, (span) =>
      isKept ? drawAndStore(one, span) : leave(one),
    );
  const leave = async ({ record, frame }: Received<DetectedFrame>): Promise<Drawn> => {
    const latencyMs = Date.now() - frame.capturedAt;
    return { record, frame, key: annotatedKey(prefix, frame), jpeg: NO_PICTURE, isKept: false, latencyMs };
  };
  const drawAndStore = async (
    { record, frame }: Received<DetectedFrame>,
    parent: string | undefined,
  ): Promise<Drawn | Failure> => {
    const key = annotatedKey(prefix, frame);
    try {
      let jpeg = await drawWithRetries(frame, how);
      if (!isPacked) {
        await asSpan('annotate', 's3.put', { parent }, () => putPicture(store, { frame, key, jpeg }));
        jpeg = NO_PICTURE;
      }
      return { record, frame, key, jpeg, isKept: true, latencyMs: Date.now() - frame.capturedAt };
    } catch (error) {
      const code = codeOf(error);
      if (!code) throw error;
      return { record, code, reason: `the JPEG ${(error as Error).message}` };
    }
  };

  /** Stores pictures of earlier batches, whose detections are stored already. */
  const keepEarlier = (frames: readonly DetectedFrame[]) =>
    inParallel(frames, FRAME_CONCURRENCY, async (frame) => {
      try {
        const jpeg = await drawWithRetries(frame, how);
        await putPicture(store, { frame, key: annotatedKey(prefix, frame), jpeg });
      } catch (error) {
        // The frame itself was done with its own batch, so it is no dead letter.
        if (!codeOf(error)) throw error;
        dependencies.logger.warn('a picture before an event is left out', {
          reason: (error as Error).message,
        });
      }
    });

  return async (received, refused = []) => {
    const choice = await choosePictures?.(received);
    const outcomes = await inParallel(
      received,
      FRAME_CONCURRENCY,
      (one) => annotateOne(one, choice?.kept.has(one.frame) ?? true),
      ({ frame }) => pixelsOf(frame),
    );
    const drawn: Drawn[] = [];
    const failures = [...refused];
    for (const outcome of outcomes) {
      if ('reason' in outcome) failures.push(outcome);
      else drawn.push(outcome);
    }
    const fault = failures.find(({ code }) => code === 'FAILS_ALWAYS');
    const failing = received.find(({ record }) => record === fault?.record);
    // If nothing can be drawn, no frame is at fault: the batch fails and is delivered again.
    if (fault && failing && !drawn.some(({ isKept }) => isKept) && !(await canDraw(failing.frame, how)))
      throw new Error(fault.reason);
    await keepEarlier(choice?.earlier ?? []);
    const putStream = async (frames: Drawn[]) => {
      let parts: PictureParts | undefined;
      if (isPacked) {
        const packables = frames.map((one) => ({ ...one, line: JSON.stringify(storedFacts(one)) }));
        parts = await putPacks(form, packables, dependencies);
        for (const one of frames) one.latencyMs = Date.now() - one.frame.capturedAt;
      }
      await putDetections(store, frames, parts);
    };
    await Promise.all([
      inParallel([...byStream(drawn).values()], form === 'video' ? VIDEO_CONCURRENCY : Infinity, putStream),
      putAllFailed('annotate', failures, dependencies),
    ]);
    choice?.commit();
    report(drawn, boxes);
    count?.(drawn.map(({ frame }) => frame));
  };
}

/** Stores one object for each hour: a search looks for a frame in its hour. Replayed frames may be of several hours. */
async function putDetections(
  store: MergingStore,
  frames: readonly Drawn[],
  parts?: PictureParts,
): Promise<void> {
  const hours = Map.groupBy(frames, ({ frame }) => hourFolder(frame.capturedAt));
  await Promise.all([...hours.values()].map((some) => putHour(store, some, parts)));
}

/**
 * Writes the detections of one stream's frames, one JSON object a line. The object is named after the first frame. A
 * batch that is delivered again may begin at another offset. The same line is then in two objects: readers use one for
 * each `annotated_key`. It may also begin at the same offset and be shorter: it then writes to the same object. That
 * object keeps the lines of the other frames: their offsets may be committed already.
 */
async function putHour(store: MergingStore, frames: readonly Drawn[], parts?: PictureParts): Promise<void> {
  const [first] = frames;
  if (!first) return;
  const lines = frames.map((one) => `${JSON.stringify({ ...storedFacts(one), ...parts?.get(one.key) })}\n`);
  const own = new Set(frames.map(({ key }) => key));
  const object = {
    key: detectionsKey(first.frame, first.record),
    contentType: 'application/x-ndjson',
    merge: (before = '') => [...lines, ...linesWithout(own, before)].join(''),
  };
  await mergeWithNote(store, object, first.frame.capturedAt);
}

/** Lines of an NDJSON without those of the frames `keys`. Each line has its line end. */
function linesWithout(keys: ReadonlySet<string>, text: string): string[] {
  const isOther = (line: string) => {
    try {
      return !keys.has(JSON.parse(line).annotated_key);
    } catch {
      return false; // A line that is not JSON is of no use to a reader.
    }
  };
  return text
    .split('\n')
    .filter((line) => line !== '' && isOther(line))
    .map((line) => `${line}\n`);
}

/**
 * A frame and its detections, as they are stored. `picture: null`: the picture was not kept when the line was written.
 * A later event may have kept it: the object `annotated_key` then exists.
 */
function storedFacts({ frame, key, isKept }: Drawn) {
  return { ...factsOf(frame), annotated_key: key, ...(!isKept && { picture: null }) };
}

function report(drawn: readonly Drawn[], boxes: boolean): void {
  for (const [stream, frames] of byStream(drawn)) {
    const kept = frames.filter(({ isKept }) => isKept);
    const notDrawn = (boxes ? kept : [])
      .map(({ frame }) => frame.detections.length - drawable(frame, frame.detections).length)
      .reduce((sum, count) => sum + count, 0);
    const notKept = frames.length - kept.length;
    emitMetrics('annotate', stream, {
      ...(notDrawn > 0 ? { BoxesNotDrawn: notDrawn } : {}),
      FramesAnnotated: frames.length,
      ...(notKept > 0 ? { FramesNotKept: notKept } : {}),
      CaptureToStored: frames.map(({ latencyMs }) => latencyMs),
    });
  }
}

const config = readConfig([
  'S3_PREFIX',
  'S3_STORAGE_CLASS',
  'STORE',
  'STORE_CLASSES',
  'JPEG_QUALITY',
  'DRAW_BOXES',
  'MQTT_URL',
  'KAFKA_DETECTIONS_TOPIC',
  ...CLIP_VARIABLES,
]);
// Loaded only with MQTT_URL: it is a quarter of all modules of this function.
const broker = config.MQTT_URL === undefined ? undefined : await import('./mqtt.ts');
const store = createStore();
const logger = createLogger('annotate');

// Loaded only where earlier batches are read again.
const kafka = config.STORE === 'events' ? await import('@video-pipeline/kafka') : undefined;
const tail = kafka?.createTail(kafka.connectKafka('annotate', logger));

async function fromEnvironment(): Promise<AnnotateDependencies> {
  const mqtt = await broker?.mqttFromEnvironment(logger);
  return {
    store,
    prefix: config.S3_PREFIX,
    form: config.STORE,
    choosePictures:
      tail && createPictureChooser(keepRuleOf(config), earlierFrom(tail, config.KAFKA_DETECTIONS_TOPIC)),
    quality: config.JPEG_QUALITY,
    boxes: config.DRAW_BOXES === 'on',
    storageClass: config.S3_STORAGE_CLASS,
    putFailed: createPutFailed(store, 'annotate'),
    logger,
    count: mqtt && createObjectCounts(mqtt.broker, mqtt.prefix),
  };
}

/** For detect with PICTURES=once; wired from the environment, as the handler is. */
export const annotateFrames: AnnotateFrames = lazyHandler(async () =>
  createAnnotateFrames(await fromEnvironment()),
);

/** The handler as Lambda runs it, wired from the environment. Nothing is connected before the first batch. */
export const handler = tracedHandler(lazyHandler(async () => createAnnotate(await fromEnvironment())));
