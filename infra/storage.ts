import { LOST_BATCHES } from '@video-pipeline/frame';
import { STREAMS_KEY as key } from '@video-pipeline/scene';
import type { Camera } from './cameras.ts';
import type { Stage } from './stages.ts';

/** The bucket of annotated frames, detections and dead letters. */
export function createStore(stage: Stage) {
  const { versioning, annotatedDays, clipDays, failedDays } = stage.store;
  const store = new sst.aws.Bucket('Store', {
    versioning,
    cors: false,
    enforceHttps: true,
    lifecycle: [
      { id: 'annotated', prefix: `${stage.settings.S3_PREFIX}/`, expiresIn: `${annotatedDays} days` },
      { id: 'clips', prefix: 'clips/', expiresIn: `${clipDays} days` },
      { id: 'failed', prefix: 'failed/', expiresIn: `${failedDays} days` },
      { id: 'lost-batches', prefix: `${LOST_BATCHES}/`, expiresIn: `${failedDays} days` },
    ],
    transform: {
      lifecycle: versioning ? expireOldVersions(annotatedDays, stage.settings.S3_PREFIX) : undefined,
    },
  });
  new aws.s3.BucketServerSideEncryptionConfiguration('StoreEncryption', {
    bucket: store.name,
    rules: [{ applyServerSideEncryptionByDefault: { sseAlgorithm: 'AES256' }, bucketKeyEnabled: true }],
  });
  createDetectionsTable(store.name);
  return store;
}

/** Permission for an action on objects of the bucket. */
export function objects(
  store: sst.aws.Bucket,
  action: `s3:${'Get' | 'Put' | 'Delete'}Object`,
  keys: string[],
) {
  return { actions: [action], resources: keys.map((key) => $interpolate`${store.arn}/${key}`) };
}

export type StreamList = ReturnType<typeof createStreamList>;

/**
 * The streams file in the bucket, with scenes and without addresses, which hold passwords. S3 does not limit its size,
 * and its readers apply later changes.
 */
export function createStreamList(store: sst.aws.Bucket, cameras: Camera[]) {
  const list = new aws.s3.BucketObjectv2('StoreStreams', {
    bucket: store.name,
    key,
    content: JSON.stringify(cameras.map(({ id, scene }) => ({ id, ...(scene && { scene }) }))),
    contentType: 'application/json',
  });
  return { key, url: $interpolate`s3://${store.name}/${list.key}` };
}

// An expired object of a versioned bucket leaves noncurrent versions, which cost as much.
function expireOldVersions(days: number, prefix: string) {
  return (args: aws.s3.BucketLifecycleConfigurationArgs): undefined => {
    args.rules = $output(args.rules ?? []).apply((rules) => [
      ...rules,
      forgetVersions('old-versions', '', days),
      // Old versions of pictures are of no use: an overwritten picture is the same, and an expired one was meant to
      // expire.
      forgetVersions('old-pictures', `${prefix}/`, 1),
    ]);
  };
}

/** @param prefix of the keys; AWS's provider will refuse a rule without one */
const forgetVersions = (id: string, prefix: string, noncurrentDays: number) => ({
  id,
  status: 'Enabled',
  filter: { prefix },
  noncurrentVersionExpiration: { noncurrentDays },
});

/** Athena's view of `detections/<stream>/date=/hour=/*.ndjson`. Partitions are computed, so no crawler runs. */
function createDetectionsTable(bucket: $util.Output<string>): void {
  const database = new aws.glue.CatalogDatabase('StoreDatabase', {
    name: `${$app.name}_${$app.stage}`.replaceAll('-', '_').toLowerCase(),
  });
  const location = $interpolate`s3://${bucket}/detections`;
  new aws.glue.CatalogTable('StoreDetections', {
    name: 'detections',
    databaseName: database.name,
    tableType: 'EXTERNAL_TABLE',
    parameters: {
      'projection.enabled': 'true',
      // Each query must name its streams: stream ids can't be enumerated here.
      'projection.stream.type': 'injected',
      'projection.date.type': 'date',
      'projection.date.format': 'yyyy-MM-dd',
      'projection.date.range': '2026-01-01,NOW',
      'projection.hour.type': 'integer',
      'projection.hour.range': '0,23',
      'projection.hour.digits': '2',
      'storage.location.template': $interpolate`${location}/\${stream}/date=\${date}/hour=\${hour}/`,
    },
    partitionKeys: [
      { name: 'stream', type: 'string' },
      { name: 'date', type: 'string' },
      { name: 'hour', type: 'string' },
    ],
    storageDescriptor: {
      location,
      inputFormat: 'org.apache.hadoop.mapred.TextInputFormat',
      outputFormat: 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat',
      serDeInfo: { serializationLibrary: 'org.openx.data.jsonserde.JsonSerDe' },
      columns: DETECTION_COLUMNS.map(([name, type]) => ({ name, type })),
    },
  });
}

/** Columns of one NDJSON line, with Hive types. */
const DETECTION_COLUMNS = [
  ['stream_id', 'string'],
  ['frame_number', 'bigint'],
  ['session', 'string'],
  ['captured_at', 'bigint'],
  ['width', 'int'],
  ['height', 'int'],
  ['model', 'string'],
  ['detections', 'array<struct<class_id:int,class_name:string,confidence:double,bbox:array<double>>>'],
  ['annotated_key', 'string'],
  // Place of the picture, in a stage with STORE=archive or STORE=video.
  ['archive', 'struct<key:string,offset:bigint,length:bigint>'],
  ['video', 'struct<key:string,index:int>'],
] as const;
