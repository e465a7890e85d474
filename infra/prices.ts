import { isPacked, type Stage } from './stages.ts';

/** Dollars an hour for the volume of an EKS Auto Mode node: 80 GB of gp3. */
const NODE_VOLUME = (80 * 0.08) / 730;

/** List prices in us-east-1, US dollars, as of 2026-11; taxes and free tiers are left out. */
export const PRICE = {
  perHour: {
    'kafka.t3.small': 0.0456,
    'kafka.m7g.large': 0.204,
    'express.m7g.large': 0.408,
    natGateway: 0.045,
    // t4g.nano, of NAT instances and the bastion.
    smallInstance: 0.0042,
    publicAddress: 0.005,
    interfaceEndpoint: 0.01,
    eks: 0.1,
    // One GPU node (xlarge) and Auto Mode's fee of 12 %.
    gpuNode: 0.8048 * 1.12 + NODE_VOLUME,
    gpuNodeSpot: 0.35 + 0.8048 * 0.12 + NODE_VOLUME,
    // Two c6g.large for the cluster's other workloads.
    systemNodes: 2 * (0.068 * 1.12 + NODE_VOLUME),
    'ml.g5.xlarge': 1.408,
    'ml.g6.xlarge': 1.1267,
    networkLoadBalancer: 0.0225,
    fargateCpuArm: 0.03238,
    fargateGbArm: 0.00356,
    'm7g.large': 0.0816,
    'm7g.xlarge': 0.1632,
    'm7g.2xlarge': 0.3264,
    eventPollerUnit: 0.185,
    // With one capacity unit (LCU).
    applicationLoadBalancer: 0.0225 + 0.008,
  },
  perGbMonth: { broker: 0.1, expressBroker: 0.1, s3: 0.023 },
  // Tiers: upper limit in gigabytes or metrics, and the price of each.
  s3: [
    [51_200, 0.023],
    [512_000, 0.022],
    [Number.POSITIVE_INFINITY, 0.021],
  ],
  metrics: [
    [10_000, 0.3],
    [250_000, 0.1],
    [Number.POSITIVE_INFINITY, 0.05],
  ],
  perGb: {
    interfaceEndpoint: 0.01,
    logs: 0.5,
    expressWritten: 0.01,
    // 0.01 on each side.
    betweenZones: 0.02,
    // A capacity unit (LCU) of a network load balancer carries a gigabyte an hour.
    networkLoadBalancer: 0.006,
  },
  perMillion: { s3Get: 0.4, s3Put: 5, lambda: 0.2 },
  lambdaGbSecondArm: 0.0000133334,
  serverlessInferenceSecond: 0.00012,
  alarm: 0.1,
} as const;

/** S3's other classes: price of a gigabyte and month, of a million PUTs, and least number of billed days. */
const CLASSES = {
  STANDARD_IA: { gbMonth: 0.0125, put: 10, days: 30 },
  ONEZONE_IA: { gbMonth: 0.01, put: 10, days: 30 },
  GLACIER_IR: { gbMonth: 0.004, put: 20, days: 90 },
};
export const usualClass = { gbMonth: undefined, put: PRICE.perMillion.s3Put, days: 0 };

/** Storage class of the stage's pictures. Single pictures stay in the standard class: others charge at least 128 KB. */
export function classOf({ settings }: Stage) {
  const { STORE, S3_STORAGE_CLASS = 'STANDARD' } = settings;
  const isOther = isPacked(STORE) && S3_STORAGE_CLASS in CLASSES;
  return isOther ? CLASSES[S3_STORAGE_CLASS as keyof typeof CLASSES] : usualClass;
}

/** Price of a quantity with tiers. @param tiers upper limit and price of each */
export function tiered(tiers: readonly (readonly [number, number])[], quantity: number): number {
  let [usd, from] = [0, 0];
  for (const [to, price] of tiers) {
    usd += Math.max(0, Math.min(quantity, to) - from) * price;
    from = to;
  }
  return usd;
}
