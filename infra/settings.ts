import { readConfig } from '@video-pipeline/config';

/** The pipeline's own defaults, from the table that its code reads, so that AWS and one machine can't differ. */
export const pipeline = readConfig(
  [
    'KAFKA_TOPIC',
    'KAFKA_DETECTIONS_TOPIC',
    'KAFKA_EVENTS_TOPIC',
    'KAFKA_GROUP_ID',
    'BATCH_SIZE',
    'BATCH_TIMEOUT_SECONDS',
    'FRAME_RATE',
    'INFERENCE_CONFIDENCE_THRESHOLD',
    'MAX_FRAME_BYTES',
    'S3_PREFIX',
    'PORT',
    'HEALTH_PORT',
    'CONSOLE_PORT',
  ],
  {},
);

/** A name as resources and alarms are called: `detect` is `Detect`. */
export const title = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);

/** Port of MSK with IAM authentication, inside the VPC. */
export const KAFKA_IAM_PORT = 9098;

/** Addresses of the VPC, as SST makes it. */
export const VPC_CIDR = '10.0.0.0/16';

/** What the deploying shell says: who may come in, and which images it has built already. */
export const deployment = () =>
  readConfig([
    'DEPLOY_CIDRS',
    'MODEL_IMAGE',
    'INGEST_IMAGE',
    'ALARM_EMAIL',
    'CAMERAS_FILE',
    'CLUSTER_ADMINS',
    'CLUSTER_VIEWERS',
    'WEBHOOK_URL',
    'WEBHOOK_SECRET',
  ]);
