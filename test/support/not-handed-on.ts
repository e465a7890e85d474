import type { VariableName } from '@video-pipeline/config';

/** Variables that no service in docker-compose.yaml gets from the shell, with the reason. */
export const NOT_HANDED_ON: Partial<Record<VariableName, string>> = {
  KAFKA_AUTH: 'its own Kafka is plain text',
  STREAMS_FILE: 'a file of the host',
  MODEL_PATH: 'a file of the host',
  MODEL_DIR: 'a folder of the host',
  MAX_FRAMES: 'an ingest that ends is started again',
  RESTREAM_PORT: 'no port of the container is open for it',
  RESTREAM_USER: 'as RESTREAM_PORT',
  S3_PREFIX: 'CI and documents name the folder',
  SHUTDOWN_GRACE_SECONDS: 'its image sets it',
  INFERENCE_BACKEND: 'AWS alone',
  SAGEMAKER_ENDPOINT_NAME: 'AWS alone',
  EVENT_BUS_NAME: 'AWS alone',
  DEPLOY_CIDRS: 'deploying',
  CLUSTER_ADMINS: 'deploying',
  CLUSTER_VIEWERS: 'deploying',
  MODEL_IMAGE: 'deploying',
  MODEL_CANARY: 'deploying',
  INGEST_IMAGE: 'deploying',
  ALARM_EMAIL: 'deploying',
  CAMERAS_FILE: 'deploying',
};
