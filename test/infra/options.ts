import { ALL_SAVINGS, SAVINGS } from '../../infra/savings.ts';
import { type Row, stageOf } from '../../infra/stages.ts';

/** Options that no stage of the table has: each of them once, in as few rows as possible. */
const { name: _name, tags: _tags, settings: _settings, ...production } = stageOf('production');

/** Express brokers, clips, NDJSON that expires, SageMaker on a GPU, ingest on EC2, the console on the web, a tunnel. */
export const hosted: Row = {
  ...production,
  network: { ...production.network, tunnel: true },
  kafka: {
    kind: 'express',
    instance: 'express.m7g.large',
    brokers: 3,
    partitions: 12,
    retentionHours: 6,
  },
  inference: { backend: 'sagemaker', instance: 'ml.g6.xlarge', replicas: { min: 1, max: 4 } },
  ingest: { ...production.ingest, capacity: 'ec2', instance: 'm7g.xlarge', maxInstances: 4 },
  settings: { EVENT_CLIPS: 'on' },
  store: { ...production.store, ndjsonDays: 14 },
  console: { domain: 'cameras.example.com', allowedCidrs: ['203.0.113.0/24', '198.51.100.0/28'] },
};

/**
 * Production with every option that docs/capacity.md counts as a saving, as the capacity model reckons with them, and NAT
 * instances.
 */
const saving = ALL_SAVINGS.reduce((plan, name) => SAVINGS[name].apply(plan), {
  stage: stageOf('production'),
  partitionsPerCamera: 0,
}).stage;
const { name: _saving, tags: _tagged, settings: saved, ...thriftyStage } = saving;
export const thrifty: Row = {
  ...thriftyStage,
  network: { ...thriftyStage.network, nat: 'ec2' },
  kafka: { ...production.kafka, retentionHours: saving.kafka.retentionHours },
  settings: {
    STORE: 'archive',
    PICTURES: 'once',
    BATCH_SIZE: saved.BATCH_SIZE,
    BATCH_TIMEOUT_SECONDS: saved.BATCH_TIMEOUT_SECONDS,
    JPEG_QUALITY: saved.JPEG_QUALITY,
    S3_STORAGE_CLASS: saved.S3_STORAGE_CLASS as string,
  },
};
