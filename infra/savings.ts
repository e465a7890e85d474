import type { Stage } from './stages.ts';

/** A stage, and its least number of partitions for each camera. */
export interface Plan {
  stage: Stage;
  partitionsPerCamera: number;
}

const change = (plan: Plan, parts: Partial<Stage>): Plan => ({ ...plan, stage: { ...plan.stage, ...parts } });
const set = (plan: Plan, settings: Partial<Stage['settings']>): Plan =>
  change(plan, { settings: { ...plan.stage.settings, ...settings } });

/**
 * Options that make a camera cheaper, in the order of docs/capacity.md. Each changes the stage as a row of
 * infra/stages.ts could. The capacity model then computes the numbers of brokers, pods and tasks.
 */
export const SAVINGS = {
  batches: {
    does: '`BATCH_SIZE=100`, `BATCH_TIMEOUT_SECONDS=10`, two partitions a camera',
    price: 'some seconds more until a frame is stored; at most one Lambda at a time for each partition',
    apply: (plan) => ({
      ...set(plan, { BATCH_SIZE: 100, BATCH_TIMEOUT_SECONDS: 10 }),
      partitionsPerCamera: 2,
    }),
  },
  storageClass: {
    does: '`S3_STORAGE_CLASS=STANDARD_IA`',
    price: '0.01 dollars for each gigabyte that is looked at; 30 days are paid for at least',
    apply: (plan) => set(plan, { S3_STORAGE_CLASS: 'STANDARD_IA' }),
  },
  brokers: {
    does: 'standard brokers (`kind: provisioned`), `retentionHours: 2`',
    price: 'you manage volumes and rebalancing; an outage behind Kafka may last two hours at most',
    apply: (plan) =>
      change(plan, {
        kafka: {
          ...plan.stage.kafka,
          kind: 'provisioned',
          instance: 'kafka.m7g.large',
          volumeGb: 1,
          maxVolumeGb: 1,
          retentionHours: 2,
        },
      }),
  },
  quality: {
    does: '`JPEG_QUALITY=70`',
    price: 'pictures lose detail',
    apply: (plan) => set(plan, { JPEG_QUALITY: 70 }),
  },
  workers: {
    does: 'tasks instead of Lambda (`functions.workers`), on Fargate Spot',
    price: 'ECS adds tasks in minutes, Lambda in seconds; an ended task makes its group pause for seconds',
    apply: (plan) =>
      change(plan, {
        functions: {
          ...plan.stage.functions,
          workers: { cpu: '1 vCPU', memory: '2 GB', tasks: { min: 3, max: 300 }, capacity: 'spot' },
        },
      }),
  },
  zonal: {
    does: 'frames kept within a zone (`network.zonal`)',
    price: 'a zone with fewer cameras or pods than the others has more idle, or slower, partitions',
    apply: (plan) => change(plan, { network: { ...plan.stage.network, zonal: true } }),
  },
  spot: {
    does: 'Spot for GPU pods (`gpu.capacity`) and for ingest (`capacity`)',
    price:
      'frames wait while a pod is replaced; cameras are without pictures while a task is, for about a minute',
    apply: (plan) =>
      change(plan, {
        inference: {
          ...plan.stage.inference,
          gpu: { families: ['g6', 'g5'], capacity: ['spot', 'on-demand'] },
        } as Stage['inference'],
        ingest: { ...plan.stage.ingest, capacity: 'spot' } as Stage['ingest'],
      }),
  },
} satisfies Record<string, { does: string; price: string; apply: (plan: Plan) => Plan }>;

export type Saving = keyof typeof SAVINGS;
export const ALL_SAVINGS = Object.keys(SAVINGS) as Saving[];
