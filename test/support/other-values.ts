import { readConfig, type VariableName, variables } from '@video-pipeline/config';

/** Values other than the default, for variables that tests set or whose kind has no value below. */
const NAMED = {
  KAFKA_TOPIC: 'pictures',
  KAFKA_DETECTIONS_TOPIC: 'seen',
  KAFKA_EVENTS_TOPIC: 'told',
  KAFKA_GROUP_ID: 'readers',
  PICTURES: 'once',
  BATCH_SIZE: 50,
  BATCH_TIMEOUT_SECONDS: 2,
  PORT: 8001,
  CONSOLE_PORT: 8081,
  HEALTH_PORT: 8091,
  RESTREAM_PORT: 8555,
  RESTREAM_USER: 'viewer:secret',
  S3_PREFIX: 'drawn',
  FRAME_RATE: 5,
  MAX_FRAME_BYTES: 90_000,
  JPEG_QUALITY: 70,
  STALL_SECONDS: 20,
  BUFFER_SECONDS: 20,
  BUFFER_BYTES: 90_000_000,
  MOTION_THRESHOLD: 0.02,
  MOTION_KEEPALIVE_SECONDS: 15,
  MAX_LATENCY_SECONDS: 20,
  MIN_FRAME_RATE: 2,
  LOG_LEVEL: 'DEBUG',
  METRICS_PORT: 9464,
  INFERENCE_CONFIDENCE_THRESHOLD: 0.4,
  INFERENCE_TIMEOUT_SECONDS: 30,
  INFERENCE_CANARY_URL: 'http://canary.example:8000',
  INFERENCE_CANARY_SHARE: 0.2,
  INFERENCE_CANARY_MODE: 'shadow',
  ALLOWED_CLASSES: 'person,car',
  WEBHOOK_ATTEMPTS: 7,
  CLIP_BEFORE_SECONDS: 4,
  CLIP_AFTER_SECONDS: 6,
  INFERENCE_DEVICE: 'cuda',
  INFERENCE_BATCH_SIZES: '8,25',
  INFERENCE_THREADS: 3,
  MODEL_PATH: '/models/own.onnx',
  MODEL_DIR: '/models',
  MAX_BODY_BYTES: 16_000_000,
  MAX_REQUEST_FRAMES: 100,
  MAX_CONCURRENT_REQUESTS: 32,
  MAX_QUEUED_FRAMES: 256,
  MAX_FRAME_PIXELS: 20_000_000,
  REQUEST_TIMEOUT_SECONDS: 20,
  KAFKA_BOOTSTRAP_SERVERS: 'kafka.example:9092',
  KAFKA_AUTH: 'tls',
  KAFKA_RACK: 'us-east-1a=use1-az4',
  INFERENCE_BACKEND: 'sagemaker',
  INFERENCE_SERVICE_URL: 'http://model.example:8000',
  SAGEMAKER_ENDPOINT_NAME: 'detector',
  WEBHOOK_URL: 'https://hooks.example/events',
  WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
  MQTT_URL: 'mqtts://mqtt.example:8884',
  MQTT_USERNAME: 'pipeline',
  MQTT_PASSWORD: 'not told',
  MQTT_TOPIC_PREFIX: 'frigate/site',
  EVENT_BUS_NAME: 'events',
  EVENT_CLIPS: 'on',
  S3_BUCKET: 'own-bucket',
  S3_STORAGE_CLASS: 'STANDARD_IA',
  STORE: 'events',
  STORE_CLASSES: 'person',
  DRAW_BOXES: 'off',
  AWS_REGION: 'eu-central-1',
  AWS_ENDPOINT_URL: 'http://s3.example:9000',
  STREAMS: '[{id: yard, url: rtsp://camera.example/1}]',
  STREAMS_FILE: '/etc/cameras.yaml',
  MAX_FRAMES: 50,
  METRICS_NAMESPACE: 'Yard',
  OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector.example:4318',
  OTEL_TRACES_SAMPLER_ARG: 0.5,
  INFERENCE_PRECISION: 'bf16',
  SHUTDOWN_GRACE_SECONDS: 2,
  HOST: '127.0.0.2',
  CONSOLE_TOKEN: 'a-token-of-its-own',
  CONSOLE_TOKEN_FILE: '/var/lib/console/token',
  INGEST_URL: 'http://ingest.example:8090',
  CONSOLE_URL: 'https://cameras.example/console',
  DEPLOY_CIDRS: '203.0.113.0/24',
  CLUSTER_ADMINS: 'arn:aws:iam::123456789012:role/admins',
  CLUSTER_VIEWERS: 'arn:aws:iam::123456789012:role/viewers',
  MODEL_IMAGE: 'registry.example/model:1',
  MODEL_CANARY: 'registry.example/canary',
  INGEST_IMAGE: 'registry.example/ingest:1',
  ALARM_EMAIL: 'ops@example.com',
  CAMERAS_FILE: '/etc/cameras.yaml',
} as const satisfies Partial<Record<VariableName, string | number>>;

const COMMON = ['https://other.example/', 'other', 'on', 'off', '1', '0'];

function otherThanDefault(name: VariableName): string {
  const value = COMMON.find((one) => {
    const read = variables[name].safeParse(one);
    return read.success && String(read.data) !== String(readConfig([name], {})[name]);
  });
  if (value === undefined) throw new Error(`name a value of ${name} in test/support/other-values.ts`);
  return value;
}

/** A value other than the default for each variable. */
export const OTHER_VALUES = {
  ...Object.fromEntries(
    (Object.keys(variables) as VariableName[])
      .filter((name) => !(name in NAMED))
      .map((name) => [name, otherThanDefault(name)]),
  ),
  ...NAMED,
};
