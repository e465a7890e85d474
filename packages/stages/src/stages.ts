import type { Config } from '@video-pipeline/config';
import { POLLER } from '@video-pipeline/frame';
import { isMerged, mergeStages, type PipelineStage, type Receiver } from './stage.ts';

// Some MQTT brokers take a token as the user name, and many webhook URLs contain one.
const MQTT: Receiver = {
  url: 'MQTT_URL',
  plain: ['MQTT_TOPIC_PREFIX'],
  secrets: ['MQTT_USERNAME', 'MQTT_PASSWORD'],
};
const WEBHOOK: Receiver = { url: 'WEBHOOK_URL', secrets: ['WEBHOOK_URL', 'WEBHOOK_SECRET'] };

/**
 * The stages of the pipeline, in the order in which data passes them. The local stack, AWS, the console and the audit
 * derive all that they need from these rows. A new stage is a handler in functions/src and a row here.
 */
const TABLE = [
  {
    name: 'detect',
    does: 'Batches of frames to the model',
    handler: 'functions/src/detect.ts',
    reads: 'KAFKA_TOPIC',
    groupSuffix: '',
    carriesFrames: true,
    counts: ['FramesDetected', 'Detections'],
    lambda: {
      memoryMb: 1024,
      timeoutSeconds: 120,
      needs: ['kafka', 'inference', 'scenes'],
      environment: [
        'INFERENCE_CONFIDENCE_THRESHOLD',
        'INFERENCE_TIMEOUT_SECONDS',
        'ALLOWED_CLASSES',
        'S3_PREFIX',
        'EVENT_CLIPS',
      ],
      // It reads the newest detections, to continue their tracks, and the newest events, to publish none twice.
      alsoReads: ['KAFKA_DETECTIONS_TOPIC', 'KAFKA_EVENTS_TOPIC'],
      writes: ['KAFKA_DETECTIONS_TOPIC', 'KAFKA_EVENTS_TOPIC'],
      putsObjects: ['events', 'late'],
      // For scenes that name colours.
      install: { sharp: 'sharp', '@julusian/jpeg-turbo': '@julusian/jpeg-turbo', koffi: 'koffi' },
    },
  },
  {
    name: 'annotate',
    does: 'Boxes drawn, pictures and detections stored',
    handler: 'functions/src/annotate.ts',
    reads: 'KAFKA_DETECTIONS_TOPIC',
    mergedInto: 'detect',
    carriesFrames: true,
    counts: ['FramesAnnotated'],
    lambda: {
      memoryMb: 1769,
      timeoutSeconds: 120,
      receivers: [MQTT],
      environment: [
        ...['S3_PREFIX', 'STORE', 'S3_STORAGE_CLASS', 'JPEG_QUALITY', 'DRAW_BOXES'],
        ...['STORE_CLASSES', 'CLIP_BEFORE_SECONDS', 'CLIP_AFTER_SECONDS'],
      ],
      // It reads pictures of earlier batches again.
      needsForEvents: ['kafka'],
      // A batch that is delivered again with fewer records is merged into its NDJSON.
      getsObjects: ['detections'],
      putsObjects: ['S3_PREFIX', 'detections', 'late'],
      install: {
        sharp: 'sharp',
        '@julusian/jpeg-turbo': '@julusian/jpeg-turbo',
        koffi: 'koffi',
        '@fontsource/b612': '@fontsource/b612',
      },
      installForVideo: { '@seydx/node-av-linux-arm64': 'node-av' },
    },
  },
  {
    name: 'notify',
    does: 'Events to a webhook, MQTT or EventBridge',
    handler: 'functions/src/notify.ts',
    reads: 'KAFKA_EVENTS_TOPIC',
    carriesFrames: false,
    enabledBy: ['EVENT_BUS_NAME', 'WEBHOOK_URL', 'MQTT_URL'],
    counts: ['EventsDelivered'],
    lambda: {
      memoryMb: 512,
      timeoutSeconds: 120,
      needs: ['bus'],
      receivers: [MQTT, WEBHOOK],
      environment: ['WEBHOOK_ATTEMPTS'],
    },
  },
  {
    name: 'clip',
    does: 'An MP4 of each event',
    handler: 'functions/src/clip.ts',
    reads: 'KAFKA_EVENTS_TOPIC',
    carriesFrames: false,
    enabledBy: ['EVENT_CLIPS'],
    counts: ['ClipsStored', 'ClipsMissing'],
    lambda: {
      memoryMb: 1769,
      // It waits for frames first, and then encodes.
      timeoutSeconds: 300,
      environment: [
        ...['S3_PREFIX', 'EVENT_CLIPS', 'BATCH_TIMEOUT_SECONDS'],
        ...['CLIP_BEFORE_SECONDS', 'CLIP_AFTER_SECONDS'],
      ],
      getsObjects: ['S3_PREFIX'],
      putsObjects: ['clips'],
      // Only the native code. The rest of node-av is bundled: its install script would fetch the deploying machine's
      // binary.
      install: { '@seydx/node-av-linux-arm64': 'node-av' },
      // Most of the time it waits. Listings count as puts, since they cost the same.
      perEvent: { seconds: 12, gets: 60, puts: 15, keptMb: 1 },
    },
  },
] as const satisfies readonly PipelineStage[];

export type StageName = (typeof TABLE)[number]['name'];
type EnvironmentOf<Row> = Row extends { lambda: { environment: readonly (infer Name)[] } } ? Name : never;
/** Variables that the rows name under `environment`. */
type StageVariable = EnvironmentOf<(typeof TABLE)[number]>;

type NamedStage = PipelineStage & { name: StageName };

export const STAGES: readonly NamedStage[] = TABLE;

export const STAGE_ENVIRONMENT = STAGES.flatMap(({ lambda }) => lambda.environment ?? []) as StageVariable[];

/** The receivers of all stages, each once. */
export const RECEIVERS: readonly Receiver[] = [
  ...new Set(STAGES.flatMap(({ lambda }) => lambda.receivers ?? [])),
];

/**
 * The stages as they run. Where PICTURES is `once`, a stage within another one is merged into it.
 * @example
 * stagesOf({ PICTURES: 'once' }).some(({ name }) => name === 'annotate'); // => false
 */
export function stagesOf(config: Config<'PICTURES'>): readonly NamedStage[] {
  const inner = STAGES.filter((stage) => isMerged(stage, config));
  return STAGES.filter((stage) => !inner.includes(stage)).map((stage) =>
    inner.filter(({ mergedInto }) => mergedInto === stage.name).reduce(mergeStages<NamedStage>, stage),
  );
}

/** The topics of the pipeline: those that its stages read. A failed record may be put back on them alone. */
export function topicsOf(config: Config<PipelineStage['reads']>): string[] {
  return [...new Set(STAGES.map(({ reads }) => config[reads]))];
}

/** The stages that every frame goes through, in order. */
export const FRAME_STAGES = STAGES.filter(({ carriesFrames }) => carriesFrames);

/** The stages of frames that run as processes, each with a consumer group. */
export function frameStagesOf(config: Config<'PICTURES'>): readonly NamedStage[] {
  return stagesOf(config).filter(({ carriesFrames }) => carriesFrames);
}

export const FAILED_FOLDERS: readonly string[] = [...STAGES.map(({ name }) => name), POLLER];
