import type { StageName } from '@video-pipeline/stages';
import { type MetricName, NAMESPACE } from '@video-pipeline/telemetry';

/**
 * AWS's own metrics that the dashboard and the alarms name, with their dimensions.
 * @see https://docs.aws.amazon.com/msk/latest/developerguide/metrics-details.html
 * @see https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
 * @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/metrics-dimensions.html
 * @see https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
 * @see https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-metrics-enhanced-EKS.html
 */
export const awsMetrics = {
  'AWS/Kafka': {
    dimensions: ['Cluster Name', 'Consumer Group', 'Topic'],
    names: ['SumOffsetLag', 'MaxOffsetLag', 'EstimatedMaxTimeLag'],
  },
  'AWS/Lambda': {
    dimensions: ['FunctionName'],
    names: ['Errors', 'Duration', 'Throttles', 'ConcurrentExecutions', 'OffsetLag', 'Invocations'],
  },
  'AWS/S3': { dimensions: ['BucketName', 'FilterId'], names: ['PutRequests'] },
  'AWS/SageMaker': {
    dimensions: ['EndpointName', 'VariantName'],
    names: ['Invocation5XXErrors', 'Invocation4XXErrors', 'ModelLatency', 'Invocations'],
  },
  'AWS/ApplicationELB': {
    dimensions: ['LoadBalancer', 'TargetGroup'],
    names: [
      'ELBAuthFailure',
      'HTTPCode_Target_5XX_Count',
      'HealthyHostCount',
      'RequestCount',
      'TargetResponseTime',
    ],
  },
  ContainerInsights: {
    dimensions: ['ClusterName', 'Namespace', 'Service'],
    names: ['pod_gpu_utilization', 'pod_cpu_utilization', 'service_number_of_running_pods'],
  },
} as const;

type AwsNamespace = keyof typeof awsMetrics;
type AwsMetricName<Namespace extends AwsNamespace> = (typeof awsMetrics)[Namespace]['names'][number];

/** Who writes a metric: the value of the dimension `service`. */
export type Service = 'ingest' | StageName;

/** GPU nodes that a pool of spot instances rented on demand, counted in Karpenter's log. No dimension. */
export const ON_DEMAND_NODES = 'OnDemandNodes';

/** Where CloudWatch keeps the metrics of one stage on AWS, apart from those of every other. */
export const namespaceOf = (stage: string) => `${NAMESPACE}/${stage}`;

/** What a process of ours writes its metrics under. */
export const metricsEnvironment = ({ name }: { name: string }) => ({ METRICS_NAMESPACE: namespaceOf(name) });

/** A metric of ours over all streams, as a CloudWatch search expression. */
export function acrossStreams(stage: string, service: Service, name: MetricName, statistic: string): string {
  return `SEARCH('{"${namespaceOf(stage)}",service,stream} MetricName="${name}" service="${service}"', '${statistic}', 60)`;
}

/** One of AWS's metrics, as a dashboard's widget names it: namespace, name, dimension, value, ... */
export function awsMetric<Namespace extends AwsNamespace>(
  namespace: Namespace,
  name: AwsMetricName<Namespace>,
  ...values: string[]
): string[] {
  const dimensions: readonly string[] = awsMetrics[namespace].dimensions;
  return [namespace, name, ...values.flatMap((value, index) => [dimensions[index] ?? '', value])];
}
