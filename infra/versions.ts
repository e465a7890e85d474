import type { Kafka } from './stages.ts';

/**
 * KRaft can only be chosen when a cluster is created, and only KRaft allows 60 brokers. AWS refuses `kafka.t3.small`
 * from 3.9 on, so small clusters use the version before.
 */
export const kafkaVersionOf = ({ instance }: Kafka) =>
  instance === 'kafka.t3.small' ? '3.8.x' : '3.9.x.kraft';

/** Add-on of CloudWatch, in a version that others run on Auto Mode. infra/eks.ts turns off its changes to pods. */
export const INSIGHTS = { addonName: 'amazon-cloudwatch-observability', addonVersion: 'v6.3.0-eksbuild.1' };

export const KUBERNETES_VERSION = '1.35';
