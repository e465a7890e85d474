import type { Kafka } from './stages.ts';

/**
 * KRaft can only be chosen when a cluster is created, and only KRaft allows 60 brokers. AWS refuses `kafka.t3.small`
 * from 3.9 on, so small clusters use the version before.
 */
export const kafkaVersionOf = ({ instance }: Kafka) =>
  instance === 'kafka.t3.small' ? '3.8.x' : '3.9.x.kraft';

/** Add-on of CloudWatch, in a version that does not change the pods unless it is told to. */
export const INSIGHTS = { addonName: 'amazon-cloudwatch-observability', addonVersion: 'v5.0.0-eksbuild.1' };

/** Kubernetes version of the cluster. */
export const KUBERNETES_VERSION = '1.35';

/**
 * End of AWS's standard support for each version. After it a control plane costs six times as much.
 * @see https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html, as of 2026-04
 */
export const STANDARD_SUPPORT_ENDS: Record<string, string> = {
  '1.33': '2026-07-29',
  '1.34': '2026-12-02',
  '1.35': '2027-03-27',
};
