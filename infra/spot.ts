import { keepDeliveredLogs } from './logs.ts';
import { namespaceOf, ON_DEMAND_NODES } from './metrics.ts';
import type { Inference, Stage } from './stages.ts';

type Eks = Extract<Inference, { backend: 'eks' }>;

/**
 * Counts the GPU nodes that a spot pool had to start on demand. Auto Mode runs Karpenter and does not offer its
 * metrics, but delivers its log, with one line for each node that contains `"capacity-type"`. The filter finds the
 * words anywhere in a line.
 * @see https://docs.aws.amazon.com/eks/latest/userguide/auto-managed-component-logs.html
 * @see https://github.com/kubernetes-sigs/karpenter/blob/main/pkg/controllers/nodeclaim/lifecycle/launch.go
 */
export function watchSpot(
  stage: Stage,
  { gpu: { capacity } }: Eks,
  { cluster, addons, pool }: { cluster: aws.eks.Cluster; addons: aws.eks.Addon[]; pool: string },
): { fallsBack: boolean } {
  if (!(capacity.includes('spot') && capacity.includes('on-demand'))) return { fallsBack: false };
  const name = `${$app.name}-${$app.stage}-compute`;
  const logs = keepDeliveredLogs(stage, 'ComputeLogs', `eks/${name}`);
  // A source changes the cluster, which allows one change at a time.
  const source = new aws.cloudwatch.LogDeliverySource(
    'ComputeLogsSource',
    { name, logType: 'AUTO_MODE_COMPUTE_LOGS', resourceArn: cluster.arn },
    { dependsOn: addons },
  );
  const destination = new aws.cloudwatch.LogDeliveryDestination('ComputeLogsDestination', {
    name,
    outputFormat: 'json',
    deliveryDestinationConfiguration: { destinationResourceArn: logs.arn },
  });
  new aws.cloudwatch.LogDelivery('ComputeLogsDelivery', {
    deliverySourceName: source.name,
    deliveryDestinationArn: destination.arn,
  });
  new aws.cloudwatch.LogMetricFilter('OnDemandNodes', {
    name: `${name}-on-demand`,
    logGroupName: logs.name,
    pattern: `"launched nodeclaim" "on-demand" "${pool}-"`,
    metricTransformation: {
      name: ON_DEMAND_NODES,
      namespace: namespaceOf(stage.name),
      value: '1',
      unit: 'Count',
    },
  });
  return { fallsBack: true };
}
